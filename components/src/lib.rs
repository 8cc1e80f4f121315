//! The components of this build: a feature is a vendor, and [`catalogue`] lists what they bring.
//!
//! A type whose feature is off is an unknown type. Features only ever add.
//!
//! | Feature | Types |
//! |---|---|
//! | always | `middleware.http.uppercase` |
//! | `consul` (standard) | `nameresolution.consul`, also as `nameresolution.hashicorp.consul` |
//! | `sqlite` (standard) | `nameresolution.sqlite` |

use outrigger_component::Catalogue;

/// Everything that this build can make components of.
#[must_use]
pub fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    outrigger_component_local::register(&mut catalogue);
    #[cfg(feature = "consul")]
    outrigger_component_consul::register(&mut catalogue);
    #[cfg(feature = "sqlite")]
    outrigger_component_sqlite::register(&mut catalogue);
    catalogue
}
