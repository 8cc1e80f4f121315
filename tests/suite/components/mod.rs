//! The component model: what happens to components whatever they are for.

mod states;
