//! The runtime of a thread, in which requests are made one after the other.

use std::sync::OnceLock;

thread_local! {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = const { OnceLock::new() };
}

/// Returns whether this thread can wait for futures: a runtime needs three descriptors.
pub(crate) fn can_wait() -> bool {
    RUNTIME.with(|runtime| {
        runtime.get().is_some() || new_runtime().is_ok_and(|new| runtime.set(new).is_ok())
    })
}

fn new_runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Runs a future to completion on this thread.
pub(crate) fn wait_for<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| {
        let runtime = runtime.get_or_init(|| {
            new_runtime()
                .expect("a runtime needs three descriptors, for which the job's limits leave room")
        });
        runtime.block_on(future)
    })
}
