//! Signals of the process, as a supervisor or a terminal sends them.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that changes the life of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Request {
    /// SIGTERM or SIGINT, with the name that the log gives it.
    Stop(&'static str),
    /// SIGHUP.
    Restart,
}

/// The signals that a program listens to, from its first moment on.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

// === impl Signals ===

impl Signals {
    /// Installs the handlers; must be called inside a runtime.
    ///
    /// # Errors
    /// If the system refuses a handler.
    pub(crate) fn install() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// The next signal.
    pub(crate) async fn next(&mut self) -> Request {
        tokio::select! {
            _ = self.interrupt.recv() => Request::Stop("interrupt"),
            _ = self.terminate.recv() => Request::Stop("terminated"),
            _ = self.hangup.recv() => Request::Restart,
        }
    }
}
