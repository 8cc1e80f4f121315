//! Ports beside the APIs.

mod profiling;
