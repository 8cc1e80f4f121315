//! CPU profiles, where the build has the sampler.

use std::time::Duration;

use outrigger_profile::Profile;
use outrigger_svc::DrainSignal;

/// Samples for a while; a sidecar that stops meanwhile gives what there is.
///
/// # Errors
/// If another profile is being made, the system refuses, or the build has no sampler.
#[cfg(feature = "profiling")]
pub(super) async fn sample(duration: Duration, drain: &DrainSignal) -> Result<Profile, String> {
    use outrigger_profile::cpu::CpuSampling;

    let failed = |error: &dyn std::fmt::Display| format!("Could not enable CPU profiling: {error}");
    let sampling = CpuSampling::start().map_err(|error| failed(&error))?;
    tokio::select! {
        () = tokio::time::sleep(duration) => {}
        () = drain.stopping() => {}
    }
    // Finding the names of addresses takes up to a second.
    let finished = tokio::task::spawn_blocking(|| sampling.finish()).await;
    finished
        .map_err(|error| failed(&error))?
        .map_err(|error| failed(&error))
}

#[cfg(not(feature = "profiling"))]
pub(super) async fn sample(_: Duration, _: &DrainSignal) -> Result<Profile, String> {
    Err("Could not enable CPU profiling: this build has no sampler".to_owned())
}
