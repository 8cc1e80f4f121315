//! Tests of whole processes: the binary as users, apps, peers and supervisors meet it.
//!
//! One file a behaviour, all in one test program. What they stand on is in `tests/kit`.

mod suite {
    mod identity;
    mod invoke;
    mod observe;
    mod process;
    mod readme;
    mod sdk;
}
