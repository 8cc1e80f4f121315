//! The components of this build: a feature is a vendor, and [`catalogue`] lists what they bring.
//!
//! A type whose feature is off is an unknown type. Features only ever add.
//!
//! | Feature | Types |
//! |---|---|
//! | always | `middleware.http.{bearer, oauth2, oauth2clientcredentials, ratelimit, routeralias, routerchecker, sentinel, uppercase}` |
//! | always | `state.in-memory`, `secretstores.local.{env, file}`, `crypto.dapr.{jwks, localstorage}` |
//! | `consul` (standard) | `nameresolution.consul`, also as `nameresolution.hashicorp.consul` |
//! | `etcd` (standard) | `state.etcd` |
//! | `memcached` (standard) | `state.memcached` |
//! | `postgres` (standard) | `state.{postgresql, postgres, cockroachdb, yugabytedb, yugabyte}`, `configuration.{postgresql, postgres}` |
//! | `redis` (standard) | `state.redis`, `configuration.redis`, `lock.redis` |
//! | `sqlite` (standard) | `state.{sqlite, sqlite3}`, `nameresolution.sqlite` |
//! | `vault` (standard) | `secretstores.hashicorp.vault` |
//! | `aws` | `state.aws.dynamodb`, `secretstores.aws.{secretmanager, parameterstore}`, `nameresolution.aws.cloudmap` |
//! | `azure` | `state.azure.{cosmosdb, blobstorage, tablestorage}`, `secretstores.azure.keyvault`, `configuration.azure.appconfig` |
//! | `gcp` | `secretstores.gcp.secretmanager` |
//! | `kubernetes` | `secretstores.kubernetes`, `configuration.kubernetes`, `crypto.dapr.kubernetes.secrets` |
//! | `mongodb` | `state.mongodb` |
//! | `mysql` | `state.mysql` |
//! | `zookeeper` | `state.zookeeper` |
//! | `opa` | `middleware.http.opa` |
//! | `wasm` | `middleware.http.wasm` |
//!
//! `standard` is what an ordinary build has, `full` is everything.

use outrigger_component::Catalogue;

/// Everything that this build can make components of.
#[must_use]
pub fn catalogue() -> Catalogue {
    let mut catalogue = Catalogue::new();
    outrigger_component_local::register(&mut catalogue);
    #[cfg(feature = "aws")]
    outrigger_component_aws::register(&mut catalogue);
    #[cfg(feature = "azure")]
    outrigger_component_azure::register(&mut catalogue);
    #[cfg(feature = "consul")]
    outrigger_component_consul::register(&mut catalogue);
    #[cfg(feature = "etcd")]
    outrigger_component_etcd::register(&mut catalogue);
    #[cfg(feature = "gcp")]
    outrigger_component_gcp::register(&mut catalogue);
    #[cfg(feature = "kubernetes")]
    outrigger_component_kubernetes::register(&mut catalogue);
    #[cfg(feature = "memcached")]
    outrigger_component_memcached::register(&mut catalogue);
    #[cfg(feature = "mongodb")]
    outrigger_component_mongodb::register(&mut catalogue);
    #[cfg(feature = "mysql")]
    outrigger_component_mysql::register(&mut catalogue);
    #[cfg(feature = "opa")]
    outrigger_component_opa::register(&mut catalogue);
    #[cfg(feature = "postgres")]
    outrigger_component_postgres::register(&mut catalogue);
    #[cfg(feature = "redis")]
    outrigger_component_redis::register(&mut catalogue);
    #[cfg(feature = "sqlite")]
    outrigger_component_sqlite::register(&mut catalogue);
    #[cfg(feature = "vault")]
    outrigger_component_vault::register(&mut catalogue);
    #[cfg(feature = "wasm")]
    outrigger_component_wasm::register(&mut catalogue);
    #[cfg(feature = "zookeeper")]
    outrigger_component_zookeeper::register(&mut catalogue);
    catalogue
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_types_are_those_of_the_features() {
        let catalogue = catalogue();
        let kinds: Vec<_> = catalogue.http_middleware.kinds().collect();
        let has = |kind: &str| kinds.contains(&format!("middleware.http.{kind}").as_str());
        for kind in [
            "bearer",
            "oauth2",
            "oauth2clientcredentials",
            "ratelimit",
            "routeralias",
            "routerchecker",
            "sentinel",
            "uppercase",
        ] {
            assert!(has(kind), "{kind}");
        }
        assert_eq!(has("opa"), cfg!(feature = "opa"));
        assert_eq!(has("wasm"), cfg!(feature = "wasm"));
    }
}
