//! One thread and one runtime a core: a request stays on the worker that accepted it.
//!
//! Work never moves between workers, so nothing on the way of a request is shared, locked or woken
//! across cores. The control thread accepts connections and hands them out.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use outrigger_link::worker;
use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;

/// The worker threads of a sidecar. They end when this value is dropped and their tasks are done.
#[derive(Debug)]
pub struct Workers {
    inboxes: Vec<mpsc::UnboundedSender<Job>>,
    threads: Vec<thread::JoinHandle<()>>,
    handles: Vec<Handle>,
}

/// Deals the items of one source out to the workers in turn.
#[derive(Debug, Default)]
pub(crate) struct Turn(AtomicUsize);

/// Work to be started on a worker: it is called there, and what it returns is spawned there.
type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

// === impl Workers ===

impl Workers {
    /// Starts `count` workers, at least one.
    ///
    /// # Errors
    /// If the system refuses a thread or an event queue.
    pub fn start(count: usize) -> io::Result<Self> {
        let mut workers = Self {
            inboxes: Vec::new(),
            threads: Vec::new(),
            handles: Vec::new(),
        };
        for index in 0..count.max(1) {
            let (inbox, jobs) = mpsc::unbounded_channel();
            let runtime = Builder::new_current_thread().enable_all().build()?;
            workers.handles.push(runtime.handle().clone());
            let thread = thread::Builder::new()
                .name(format!("worker-{index}"))
                .spawn(move || {
                    worker::set_index(index);
                    runtime.block_on(run(jobs));
                })?;
            workers.inboxes.push(inbox);
            workers.threads.push(thread);
        }
        Ok(workers)
    }

    /// Number of workers for this machine: the cores that the process may use, control groups included.
    #[must_use]
    pub fn default_count() -> usize {
        thread::available_parallelism().map_or(1, usize::from)
    }

    /// Number of workers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inboxes.len()
    }

    /// Whether there are no workers; never true.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.inboxes.is_empty()
    }

    /// The runtimes of the workers, to be looked at.
    pub(crate) fn handles(&self) -> impl Iterator<Item = &Handle> {
        self.handles.iter()
    }

    /// Starts work on the worker with this index.
    pub(crate) fn start_on<F, W>(&self, index: usize, work: F)
    where
        F: FnOnce() -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let job: Job = Box::new(move || Box::pin(work()));
        if self.inboxes[index].send(job).is_err() {
            tracing::error!(target: "dapr.runtime", "worker {index} has ended; a connection is dropped");
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.inboxes.clear();
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!(target: "dapr.runtime", "a worker has panicked");
            }
        }
    }
}

// === impl Turn ===

impl Turn {
    /// The worker whose turn it is, of `count`.
    pub(crate) fn next(&self, count: usize) -> usize {
        self.0.fetch_add(1, Ordering::Relaxed) % count
    }
}

/// Time between two looks at memory that has become free.
const LOOK: Duration = Duration::from_secs(5);

/// Starts what arrives until the inbox closes. Dropping the runtime then drops what still runs.
async fn run(mut jobs: mpsc::UnboundedReceiver<Job>) {
    let mut looks = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            job = jobs.recv() => match job {
                Some(job) => drop(tokio::spawn(job())),
                None => return,
            },
            _ = looks.tick() => give_back(),
        }
    }
}

/// Has the allocator return to the system what others have freed of this thread's memory.
///
/// It looks at that when the thread asks for memory, which an idle one does not: the bodies of large requests would
/// stay with it for as long as nothing arrives.
fn give_back() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(1 << 20)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_on_the_worker_it_was_given_to() {
        let workers = Workers::start(2).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        for index in [1, 0, 1] {
            let tell = tell.clone();
            workers.start_on(index, move || async move {
                tell.send((index, worker::index())).unwrap();
            });
        }
        drop(tell);
        let mut seen: Vec<_> = told.iter().collect();
        seen.sort_unstable();
        assert_eq!(seen, [(0, 0), (1, 1), (1, 1)]);
    }

    #[test]
    fn connections_are_dealt_out_in_turn() {
        let turn = Turn::default();
        let dealt: Vec<_> = (0..5).map(|_| turn.next(2)).collect();
        assert_eq!(dealt, [0, 1, 0, 1, 0]);
    }
}
