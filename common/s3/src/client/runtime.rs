//! The runtime of a thread, in which requests are made one after the other.

use std::sync::OnceLock;

thread_local! {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = const { OnceLock::new() };
}

/// Runs a future to completion on this thread.
pub(crate) fn wait_for<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| {
        let runtime = runtime.get_or_init(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime needs three descriptors, for which the job's limits leave room")
        });
        runtime.block_on(future)
    })
}
