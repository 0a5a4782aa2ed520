//! Every bound and tuning number of the suite, in one place, with its unit and its reason.

use std::time::Duration;

/// Granularity with which file systems stamp changes where they store fractions of seconds: the
/// kernel's tick is 10 ms or less.
pub const CLOCK_TICK: Duration = Duration::from_millis(20);
/// Granularity with which file systems stamp changes where they store whole seconds, or two of them
/// (FAT).
pub const CLOCK_TICK_COARSE: Duration = Duration::from_secs(2);
/// Largest lag of servers' clocks behind this node's clock: those of a site are synchronised by
/// NTP.
pub const SERVER_CLOCK_BEHIND_MAX: Duration = Duration::from_secs(1);

/// Names in one batch: enough to make handing it over cheap (0.2 µs a name), few enough that a
/// giant directory is many tasks.
pub const BATCH_NAMES_MAX: usize = 256;

/// Buffer of one `getdents64` call. Larger ones gain nothing (measured on tmpfs and ext4).
pub const LIST_BUFFER_BYTES: usize = 64 << 10;

/// Queued tasks above which a listing processes its own names instead of queuing more. This keeps
/// memory flat in a directory of any size, and lets the rank that lists have a share in the rest.
/// While other threads or ranks are idle, the names that it processes are divided, so it is soon
/// back at the listing.
pub const QUEUED_TASKS_MAX: usize = 64;

/// Directories that are open through a library past the kernel, at most for each tree: DAOS's
/// `libpil4dfs` has 512 in all (`MAX_OPENED_DIR` in its `pil4dfs_int.h`).
pub const MADE_UP_DIRS_MAX: usize = 128;

/// Longest time that mounting a DAOS container may take: its client starts up, and connects to the
/// pool.
pub const DFUSE_START_MAX: Duration = Duration::from_mins(1);
/// Longest time that unmounting a DAOS container may take, with its write-back of cached data.
pub const DFUSE_STOP_MAX: Duration = Duration::from_secs(30);
/// Interval at which a mount's progress is polled meanwhile.
pub const DFUSE_PAUSE: Duration = Duration::from_millis(20);

/// Names in a part of a directory that is given to another rank, where the thread that lists a
/// directory visits its names in order. Fewer would end the prefetch of the first rank too often;
/// more would let a rank wait long for its part.
pub const RUN_NAMES_MIN: usize = 4 * BATCH_NAMES_MAX;
/// Names in such a part at most: some hundred kilobytes in a message.
pub const RUN_NAMES_MAX: usize = 16 * BATCH_NAMES_MAX;
/// Names that a thread reads ahead of those that it visits in order, for ranks without work: some
/// megabytes.
pub const NAMES_AHEAD_MAX: usize = 1 << 18;
/// Names that a rank holds to sort them before they are visited, where their counterparts are
/// objects: some tens of megabytes. A directory with more names is visited in several rounds, each
/// of which lists all of its counterparts.
pub const NAMES_SORTED_MAX: usize = 1 << 20;
/// Names that each thread of a rank may hold for that in any case.
pub const NAMES_SORTED_STEP: usize = 1 << 14;
/// Refusals after which a rank without work counts as starved, and gets part of a directory that is
/// visited in order: directories that others have queued come first.
pub const STARVED_REFUSALS_MIN: u32 = 3;

/// Bytes copied in one batch of small files before the rest is offered to others.
pub const BATCH_BYTES_MAX: u64 = 32 << 20;

/// Default size of a chunk of a large file.
pub const CHUNK_BYTES: u64 = 32 << 20;

/// Multiple to which the size of chunks is rounded up: the page, and the block of most storage, of
/// which two chunks should not write halves. Smaller chunks stay as they are; only tests want them.
pub const CHUNK_BYTES_MULTIPLE: u64 = 4096;

/// Default I/O buffer: larger ones fall out of the CPU's cache and copy slower.
pub const BUFFER_BYTES: u64 = 512 << 10;

/// Alignment in memory and in the file of data that bypasses the page cache: the block size of all
/// common storage. Where a device requires a coarser one, its data goes through the page cache.
pub const DIRECT_ALIGN_BYTES: u64 = 4 << 10;

/// Shortest hole common to two files that a comparison skips: shorter ones are read as fast.
pub const HOLE_BYTES_MIN: u64 = 256 << 10;

/// Stride, in bytes, at which blocks of such a hole are read all the same: a file system may report
/// a hole that is none.
pub const HOLE_PROBE_STRIDE_BYTES: u64 = 8 << 20;

/// Size of a block that is read in a hole: all but a few file systems have no smaller blocks.
pub const HOLE_PROBE_BYTES: u64 = 4 << 10;

/// Longest setting of a job that its journal records as it is: a line of a message.
pub const SETTING_BYTES_MAX: usize = 4 << 10;

/// Size of all filter rules of a job: every rank gets them in one message, and compiles them.
pub const RULE_FILE_BYTES_MAX: usize = 4 << 20;

/// Largest accepted I/O buffer per thread.
pub const BUFFER_BYTES_MAX: u64 = 1 << 30;

/// Default upper bound on I/O threads of a rank. They are started only while the storage, not the
/// CPU, is what they wait for.
pub const THREADS: u32 = 32;

/// Threads of all ranks of a job that uses other hosts, at most, unless each rank has the least
/// number.
const LINE_THREADS_OF_JOB: u32 = 1024;

/// Least number of these threads of each rank.
const LINE_THREADS_MIN: u32 = 4;

/// Returns the largest number of threads of each rank of a job that uses other hosts. The agents
/// there limit by themselves how many requests they serve at a time.
pub fn threads_of_line(ranks: u32) -> u32 {
    (LINE_THREADS_OF_JOB / ranks.max(1)).max(LINE_THREADS_MIN)
}

/// Largest accepted number of I/O threads of a rank.
pub const THREADS_MAX: u32 = 1024;

/// Stack of an I/O thread: its buffers are on the heap.
pub const THREAD_STACK_BYTES: usize = 512 << 10;

/// Attempts to start the first I/O thread, [`GROWTH_WINDOW_MAX`] apart. Each attempt uses up one of
/// the pool's workers, so this is less than the smallest default number of threads of a rank.
pub const THREAD_TRIES_MAX: u32 = 25;

/// Longest time for operations in progress to end after the job was interrupted: batch systems kill
/// after 10 s (PBS's `kill_delay`) to 30 s (Slurm's `KillWait`).
pub const INTERRUPT_WAIT_MAX: Duration = Duration::from_secs(8);

/// Shortest time after the first signal at which another Ctrl-C counts as a second one, which ends
/// the process at once: one key press may arrive both from the terminal and through the launcher.
pub const INTERRUPT_AGAIN_MIN: Duration = Duration::from_millis(500);

/// Longest time that an interrupted rank waits for other ranks once its own work has ended: more
/// than for the work, and less than until batch systems kill.
pub const INTERRUPT_FAREWELL_MAX: Duration = Duration::from_secs(9);

/// Pause before `MPI_Finalize`, in which messages about connections arrive. A quarter of it was
/// enough between two nodes of one machine.
pub const FAREWELL_PAUSE: Duration = Duration::from_millis(20);

/// Longest time that `MPI_Finalize` may take at the end of a job: it takes a second, or several
/// with ten thousand ranks.
pub const FAREWELL_MAX: Duration = Duration::from_secs(30);

/// Shortest time in which a number of I/O threads is measured while it grows: some naps of the main
/// thread.
pub const GROWTH_WINDOW_MIN: Duration = Duration::from_millis(1);
/// Time after which threads that do not wait are known to compute: several timer ticks.
pub const GROWTH_WINDOW_MAX: Duration = Duration::from_millis(20);
/// Ranks of a job up to which each begins with as many threads as its CPU can feed.
pub const GROWTH_EAGER_RANKS_MAX: u32 = 8;
/// Share of added threads that may only make others wait. At one half, throughput divided by
/// latency is largest: the optimum that Kleinrock calls power.
pub const GROWTH_CROWDING_MAX: f64 = 0.5;
/// Share below which nothing queues, so that threads may grow faster.
pub const GROWTH_CROWDING_NONE: f64 = 0.25;
/// Operations from which a measurement shows whether threads crowd each other. One of many ranks
/// does not grow on less.
pub const GROWTH_WAITS_MIN: u64 = 8;
/// Operations from which a measurement needs no more of them.
pub const GROWTH_WAITS_CLEAR: u64 = 32;
/// Shortest slot in which a number of threads is tried: long beside the naps of main threads, and
/// the differences between the clocks of nodes.
pub const GROWTH_SLOT_MIN: Duration = Duration::from_millis(64);
/// Longest slot in which a number of threads is tried.
pub const GROWTH_SLOT_MAX: Duration = Duration::from_millis(4096);
/// Operations of each thread in such a slot: their latency varies.
pub const GROWTH_SLOT_WAITS: f64 = 24.0;
/// Factor of the latency up to which a quarter more threads are worth it, as
/// [`GROWTH_CROWDING_MAX`]: the root of 1.25.
pub const GROWTH_LATENCY_RISE: f64 = 1.12;
/// Factor of the latency from which a quarter fewer threads are enough: the root of 0.75.
pub const GROWTH_LATENCY_FALL: f64 = 0.88;
/// Factor of the latency below which operations must be others than before: no number of threads
/// that is tried makes them so much faster.
pub const GROWTH_PHASE_FALL: f64 = 0.5;
/// Factor of the least latency above which no threads are added: somebody else uses the server.
pub const GROWTH_SLOWER_MAX: f64 = 1.5;
/// Share of the difference to the present latency by which the least one is forgotten in a cycle of
/// slots: operations may have become slower by themselves.
pub const GROWTH_FORGETTING: f64 = 0.05;

/// Share of its CPU that a rank must leave unused before it uses more I/O threads.
pub const GROWTH_BUSY_SHARE: f64 = 0.7;
/// Number of large transfers in progress at which a rank has threads enough: each is a stream at
/// the network's speed.
pub const GROWTH_LARGE_TRANSFERS: u32 = 16;
/// Size from which a transfer counts as a large one.
pub const LARGE_TRANSFER_BYTES_MIN: u64 = 4 << 20;

/// Serialised tasks in one answer to a thief: some ten thousand names, so that a rank that waits
/// long for its processor between two questions still gets its share.
pub const STEAL_BYTES_MAX: usize = 128 << 10;

/// Largest message that is accepted: above it, the input is torn or foreign.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// Copied entries of a rank whose sources are removed together, since the target is synced before:
/// syncfs(2) takes milliseconds to seconds, unlink(2) 10 to 1,000 µs. As many objects fit in a
/// request.
pub const MOVED_ENTRIES_MAX: usize = S3_DELETE_KEYS_MAX;

/// Bytes of such entries: a job that is killed copies at most that much of each rank again.
pub const MOVED_BYTES_MAX: u64 = 16 << 30;

/// Files of a rank that wait to be read again by another; above that it reads them itself. Chunks
/// of a file in a message that has them read again.
pub const UNVERIFIED_MAX: u64 = 1024;

/// Time after a modification time in whole seconds at which a later change has another one, by a
/// clock that is a second behind, too.
pub const AT_REST_TIME: Duration = Duration::from_secs(2);
/// Times that a file is opened that is changed again and again.
pub const AT_REST_ATTEMPTS_MAX: u32 = 4;
/// Largest plausible difference between the clocks of a node and of a file server.
pub const CLOCKS_APART_MAX: Duration = Duration::from_mins(10);
/// Largest difference between the clock of a node and the timestamps of its own file systems, which
/// are from a clock that advances by ticks.
pub const TICKS_APART_MAX: Duration = Duration::from_secs(1);

/// Number of times that a journal is created again where another job, which was done with it, has
/// removed it in the same moment.
pub const JOURNAL_TRIES_MAX: u32 = 10;

/// Number of journals that are looked for beside a target: of dcp and dsync, whole and by a list,
/// or two such.
pub const JOURNALS_MAX: u32 = 4;

/// Number of entries that are compared to show that a directory is the copy of another one: a
/// fraction of a second on a busy file system.
pub const NAMES_COMPARED_MAX: usize = 1000;

/// Interval at which the files that a job with a journal has copied are synchronised to storage:
/// about as often as the kernel does it anyway (`dirty_expire_centisecs` of proc(5)), so that it
/// costs little. A node that fails loses no more than this.
pub const JOURNAL_SYNC_EVERY: Duration = Duration::from_secs(30);

/// Size above which a file is synchronised before it is renamed to its final name, where there is a
/// journal: it takes longer to write than to wait for. Smaller files are synchronised many at a
/// time, and read again where that was not done.
pub const UNSYNCED_BYTES_MAX: u64 = 64 << 20;

/// Largest record of a journal that is accepted: two paths and some numbers.
pub const JOURNAL_RECORD_BYTES_MAX: usize = 64 << 10;

/// Messages handed to MPI and not yet taken by the receiver, above which workers wait.
pub const UNSENT_MESSAGES_MAX: usize = 64;

/// Messages from worker threads that wait for the main thread.
pub const OUTBOX_LETTERS_MAX: usize = 1024;

/// Children of a rank in the tree of the termination wave and of collectives.
pub const TREE_ARITY: u32 = 8;

/// Shortest nap of the main thread between two polls for messages.
pub const NAP_MIN: Duration = Duration::from_micros(20);
/// Longest nap of the main thread between two polls for messages. An idle rank costs about 1 % of a
/// core at this nap.
pub const NAP_MAX: Duration = Duration::from_millis(1);
/// Nap of a rank that has neither received nor done anything for a while.
pub const NAP_IDLE: Duration = Duration::from_millis(4);
/// Idle time after which the nap grows to [`NAP_IDLE`].
pub const NAP_IDLE_AFTER: Duration = Duration::from_millis(100);

/// A thief asks again when this part of what it last got is left: an answer may take as long as the
/// victim's main thread waits for a processor, a time slice of some milliseconds.
pub const STEAL_AHEAD_DIVISOR: u32 = 3;

/// First pause of a thief after a refusal; it doubles up to [`steal_pause_max`].
pub const STEAL_PAUSE_MIN: Duration = Duration::from_micros(50);

/// Returns the longest pause of a thief. It grows with the job, so that a victim is not asked more
/// often in a larger one.
pub fn steal_pause_max(ranks: u32) -> Duration {
    Duration::from_micros((u64::from(ranks) * 80).clamp(500, 20_000))
}

/// Longest time that a thread with a bug leaves to the main thread to end the job. That one looks
/// every few milliseconds, unless it waits for the thread.
pub const BUG_FAREWELL_MAX: Duration = Duration::from_secs(3);

/// Pause between the last output of a rank that aborts the job and the abort: launchers read the
/// output of a rank through a pipe, and drop the rest of it when they kill the job.
pub const LAST_WORDS: Duration = Duration::from_millis(300);

/// Work that a rank may catch up on at once where its rate is limited: a fortieth of the two
/// seconds within which a limit holds.
pub const RATE_BURST: Duration = Duration::from_millis(50);
/// Part of a rate that all ranks together have to begin with, though they are idle.
pub const RATE_LEAST_SHARE: f64 = 0.02;
/// Part of the rate of a rank that had enough, by which it may do more before it is given more:
/// little, because others could use it.
pub const RATE_MARGIN: f64 = 1.02;
/// Most work that a job makes up for, in time at its limit: small in the two seconds within which a
/// limit holds.
pub const RATE_CARRIED: Duration = Duration::from_millis(60);
/// Time in which it is made up for: some times the interval at which ranks report, so that it does
/// not swing.
pub const RATE_MADE_UP: Duration = Duration::from_millis(200);
/// Longest wait for tokens before a thread looks whether the job goes on: limits change meanwhile.
pub const RATE_WAIT_MAX: Duration = Duration::from_millis(50);
/// Time that one block takes at the rate of its rank: small in the two seconds within which a limit
/// holds, because a block is the error of a rank.
pub const RATE_BLOCK: Duration = Duration::from_millis(20);
/// Fewest bytes of such a block, so that a rank with a small share does not crawl.
pub const RATE_BLOCK_BYTES_MIN: usize = 16 << 10;
/// Most bytes of such a block.
pub const RATE_BLOCK_BYTES_MAX: usize = 1 << 20;
/// Pause between two looks into a control file.
pub const CONTROL_INTERVAL: Duration = Duration::from_millis(500);
/// Bytes of a control file that are read.
pub const CONTROL_BYTES_MAX: u64 = 64 << 10;

/// Returns the interval at which ranks tell what they do of a limited rate. A message of each takes
/// rank 0 a few microseconds.
pub fn rate_interval(ranks: u32) -> Duration {
    Duration::from_millis(20).max(Duration::from_micros(50) * ranks)
}

/// Returns the age at which the demand of a rank for a limited rate expires: many intervals,
/// because a busy node delays messages, and little within the two seconds within which a limit
/// holds.
pub fn rate_demand_kept(ranks: u32) -> Duration {
    Duration::from_millis(500).max(rate_interval(ranks) * 10)
}

/// Longest wait for tokens of a request in progress before they are asked for again: shorter than
/// the interval in which ranks tell that they wait.
pub const RATE_REQUEST_WAIT_MAX: Duration = Duration::from_millis(10);

/// Pause between two termination waves.
pub const WAVE_PAUSE: Duration = Duration::from_micros(100);

/// Returns the interval at which a rank reports its progress to rank 0.
pub fn report_interval(ranks: u32) -> Duration {
    Duration::from_millis(500 + u64::from(ranks))
}

/// Descriptors that a process needs besides files and directories of the job: MPI's own, and the
/// standard three.
const DESCRIPTORS_RESERVED: u64 = 32;

/// Descriptors for the job, of those the process may have open.
fn descriptors_for_work(descriptors_max: u64) -> u64 {
    descriptors_max.saturating_sub(DESCRIPTORS_RESERVED).max(descriptors_max / 2)
}

/// Returns the number of directory handles that are kept open for queued work, at most, in each of
/// the two trees: an eighth of the descriptors.
pub fn open_dirs_max(descriptors_max: u64) -> usize {
    (descriptors_for_work(descriptors_max) / 8).min(4096) as usize
}

/// Descriptors of an I/O thread: it may have a file and its copy open, and the directories of both
/// on its way there.
const DESCRIPTORS_OF_THREAD: u64 = 8;

/// Returns the number of I/O threads for which there are descriptors.
pub fn threads_for_descriptors(descriptors_max: u64) -> u32 {
    let threads = descriptors_for_work(descriptors_max) / DESCRIPTORS_OF_THREAD;
    threads.clamp(1, u64::from(THREADS_MAX)) as u32
}

/// Returns the number of threads that may list a prefix, besides up to `threads_max` I/O threads:
/// no more than those, and as many as there are descriptors left for. Two prefixes may be listed
/// at a time, by threads with a runtime and a connection each.
pub fn listing_threads(threads_max: u32, descriptors_max: u64) -> usize {
    let of_others = u64::from(threads_max) * DESCRIPTORS_OF_THREAD;
    let left = descriptors_for_work(descriptors_max).saturating_sub(of_others);
    let affordable = left / DESCRIPTORS_OF_THREAD;
    S3_LISTING_THREADS.min(threads_max as usize).min(affordable as usize)
}

/// Longest wait for something that another rank has created and this node does not see yet
/// (attribute caches of network file systems).
pub const VISIBLE_WAIT_MAX: Duration = Duration::from_secs(3);

/// Number of nodes that a message lists where a root is not the same on all of them: the first few
/// show what is wrong.
pub const NODES_NAMED_MAX: usize = 8;

/// Number of entries on the command line, of one directory, that each node inspects before the work
/// begins; more of them are represented by their directory.
pub const ENTRIES_COMPARED_MAX: usize = 16;

/// Pauses before a request to an unresponsive file system is repeated: a server's failover takes
/// longer, but then its clients wait by themselves.
pub const UNANSWERED_PAUSES: [Duration; 4] = [
    Duration::from_millis(5),
    Duration::from_millis(20),
    Duration::from_millis(80),
    Duration::from_millis(320),
];
/// Number of vain repetitions after which no request is repeated: a file system whose server has
/// ended answers for none of its entries.
pub const UNANSWERED_IN_VAIN_MAX: u32 = 16;

/// Failures that one rank reports line by line; the rest are only counted.
pub const FAILURE_LINES_MAX: u64 = 1000;

/// Least time over which the rate of a job is measured: less jumps with each large chunk.
pub const RATE_WINDOW_MIN: Duration = Duration::from_secs(5);

/// Samples in that time, which make the rate smooth.
pub const RATE_SAMPLES_MAX: u32 = 20;

/// Time without progress after which a job says so: longer than a retried request usually takes.
pub const STALL_MIN: Duration = Duration::from_secs(20);

/// Failure lines printed by rank 0 for one kind of failure; the rest are only counted.
pub const FAILURE_LINES_PRINTED_MAX: u64 = 100;

/// Free space below which a target that has refused a file for lack of space counts as full. Where
/// there is more, some part of it is full, such as one of a parallel file system's many disks, and
/// other files fit.
pub const TARGET_ROOM_MIN: u64 = 64 << 20;

/// Number of failures of one kind at the target, in a row on one thread and without a success in
/// between, after which the target counts as unusable: more than where any part of it still works,
/// fewer than anybody reads.
pub const HOPELESS_FAILURES: u32 = 200;

/// List lines gathered by a worker before they are sent to rank 0.
pub const LINES_BLOCK_BYTES: usize = 32 << 10;

/// Hashes of names that a rank keeps while it looks for names that a list has more than once: 32
/// MiB, and as many that other ranks send. A longer list is read several times.
pub const REPEATS_HASHES_MAX: usize = 4 << 20;

/// Lines of a record that a thread writes in one tick of its clock before it hands them over: with
/// fewer, threads that record many changes wait for one another.
pub const RECORD_PIECE_BYTES: usize = 32 << 10;

/// Lines of a record that a rank gathers before it sends them to rank 0; it sends fewer each time
/// that it reports its progress.
pub const RECORD_BLOCK_BYTES: usize = 128 << 10;

/// Lines of a record that rank 0 gathers before it writes them; it writes fewer several times a
/// second. What ranks send at once is as much, and is written as it comes, without another copy.
pub const RECORD_BUFFER_BYTES: usize = RECORD_BLOCK_BYTES;

/// Attempts to resolve a path while other processes rename its components (`EAGAIN` of openat2(2)).
pub const RESOLVE_TRIES_MAX: u32 = 128;

/// Directories whose final attributes are set by one task.
pub const FINISH_BATCH_DIRS: usize = 64;

/// Directories whose usage one rank counts separately; above it the smallest deep ones are counted
/// in their parents. Each takes some 150 bytes.
pub const USAGE_DIRECTORIES_MAX: usize = 20_000;
/// Directories whose usage one thread counts separately before it hands them over to its rank.
pub const USAGE_DIRECTORIES_OF_THREAD_MAX: usize = 1_000;
/// Bytes in the paths of these directories: paths have no limit of their own.
pub const USAGE_PATH_BYTES_MAX: usize = 4 << 20;
/// Owners and groups that are counted separately; later ones are counted together.
pub const USAGE_OWNERS_MAX: usize = 50_000;
/// Depths that are counted separately; deeper entries count as the deepest.
pub const USAGE_DEPTHS_MAX: usize = 256;
/// Largest accepted number of entries for `--top`.
pub const TOP_MAX: u32 = 10_000;
/// Separators of a distribution, as in mpiFileUtils.
pub const SEPARATORS_MAX: usize = 128;

/// Piece of a value that is larger than one message may be.
pub const REDUCE_PIECE_BYTES: usize = 4 << 20;

/// Entries in a row group of a Parquet list, at most: a rank holds one group in memory until it is
/// full.
pub const ROW_GROUP_ROWS: usize = 64 << 10;
/// Bytes of paths and link targets at which a row group is full.
pub const ROW_GROUP_PATH_BYTES: usize = 16 << 20;
/// Rows that a thread gathers before it hands them to its rank's row group.
pub const ROWS_OF_THREAD: usize = 2048;
/// Largest row group that is read: a larger one was not written by this program.
pub const ROW_GROUP_BYTES_MAX: u64 = 1 << 30;
/// Largest Parquet footer that is read.
pub const FOOTER_BYTES_MAX: u64 = 64 << 20;
/// Rows decoded at a time.
pub const READ_BATCH_ROWS: usize = 2048;
/// Parts of a Parquet list, at most.
pub const PARTS_MAX: u32 = 1 << 20;

/// Depth of the deepest entry that is read from a list: real trees are not that deep, and sums are
/// added up all the way.
pub const LIST_DEPTH_MAX: usize = 64 << 10;

/// Longest list of paths that is accepted from a pipe: every rank holds a copy of it, since any of
/// them may need any part.
pub const PIPED_PATHS_BYTES_MAX: u64 = 64 << 20;

/// Address space below which a single process refuses to start: stacks, buffers, and the 32 MiB
/// that the allocator reserves for each thread, of which two are needed.
pub const ADDRESS_SPACE_BYTES_MIN: u64 = 96 << 20;

/// Address space below which no further I/O thread is started: as much as three threads take, since
/// those that were just started have not taken theirs.
pub const ADDRESS_SPACE_OF_THREADS_BYTES_MIN: u64 = 128 << 20;

/// Address space below which a rank refuses to start: MPI's libraries (UCX) take most of it, and
/// fail without it.
pub const ADDRESS_SPACE_OF_RANKS_BYTES_MIN: u64 = 256 << 20;

/// Longest time until the main thread notices a signal while it waits for something outside the
/// job.
pub const SIGNAL_WAIT_MAX: Duration = Duration::from_millis(100);

/// Bytes of an NDJSON list that are one task.
pub const NDJSON_PIECE_BYTES: u64 = 4 << 20;
/// Bytes of a binary list of mpiFileUtils that are one task. Each reads the names of all users once
/// more, which are some MiB where a site has many.
pub const MFU_PIECE_BYTES: u64 = 16 << 20;
/// Names of users in such a list: more than any site has.
pub const MFU_NAMES_BYTES_MAX: u64 = 256 << 20;
/// Longest line of an NDJSON list: a path and a link target may be long, but not that long.
pub const NDJSON_LINE_BYTES_MAX: u64 = 8 << 20;

/// Size of a block of entries that wait to be sorted, and of entries on their way to the rank that
/// will list them.
pub const SORT_BLOCK_BYTES: usize = 1 << 20;
/// The number of entries from which a rank sorts on all of its processors: fewer are sorted by one
/// thread in about 10 ms, and threads have to be started first.
pub const SORT_PARALLEL_ENTRIES_MIN: usize = 100_000;
/// Samples that each rank gives to determine where the sorted list is cut: with this many, ranks'
/// shares differ by a few percent.
pub const SORT_SAMPLES: usize = 128;
/// Blocks of sorted lines that rank 0 has requested from a rank: while it writes one, others
/// arrive.
pub const SORT_BLOCKS_ASKED: u32 = 4;
/// Size in bytes to which a sample truncates a key: the rest does not matter for shares.
pub const SORT_SAMPLE_KEY_BYTES: usize = 512;

/// Returns the number of samples that each of `ranks` ranks gives: all of them are one message on
/// their way to rank 0.
pub fn sort_samples(ranks: u32) -> usize {
    let bytes = MESSAGE_BYTES_MAX / 2 / ranks.max(1) as usize;
    (bytes / (SORT_SAMPLE_KEY_BYTES + 16)).clamp(2, SORT_SAMPLES)
}

/// Size of one file's hard links in a message to another rank: more of them are handled as several
/// files.
pub const LINKED_FILE_BYTES_MAX: usize = MESSAGE_BYTES_MAX / 2;

/// Rectangles of the treemap in a report: more cannot be told apart.
pub const TREEMAP_RECTANGLES_MAX: usize = 600;
/// Levels of directories in the treemap.
pub const TREEMAP_LEVELS_MAX: u32 = 8;
/// Rows of a table of owners, groups or directories in the terminal and in a report.
pub const TABLE_ROWS_MAX: usize = 20;

/// Largest accepted configuration file or bundle of certificates: those of whole systems are under
/// 1 MiB.
pub const CONFIG_FILE_BYTES_MAX: usize = 8 << 20;
/// Characters of a service's error message that a failure shows: such messages are a sentence or
/// two.
pub const SHOWN_MESSAGE_CHARS_MAX: usize = 600;
/// Characters that a failure shows of an answer that is not S3's: enough to recognise its sender.
pub const SHOWN_ANSWER_CHARS_MAX: usize = 200;
/// Longest wait for credentials: a process or a sign-on service behind them may be slow, but not
/// for ever.
pub const CREDENTIALS_WAIT: Duration = Duration::from_mins(1);
/// Longest wait for the service that tells an instance of AWS its role. It answers in milliseconds
/// where it exists; elsewhere nothing answers.
pub const INSTANCE_METADATA_WAIT: Duration = Duration::from_secs(1);
/// Largest accepted number of a rank's requests in progress: each is a connection and a buffer.
pub const S3_REQUESTS_MAX: u32 = 4096;
/// Smallest part of an object but for the last one, as S3 has it
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
pub const S3_PART_BYTES_MIN: u64 = 5 << 20;
/// Largest part of an object, as S3 has it.
pub const S3_PART_BYTES_MAX: u64 = 5 << 30;
/// Common part sizes, for services that do not tell those of an object: MiB of `s3cmd`, of AWS's
/// tools and `rclone` (5 and 8), `mc` (16), this suite (32), `s5cmd` (50), Hadoop (64 and 128), and
/// megabytes.
pub const USUAL_PART_BYTES: [u64; 12] = [
    8 << 20,
    5 << 20,
    16 << 20,
    32 << 20,
    64 << 20,
    15 << 20,
    50 << 20,
    10 << 20,
    100 << 20,
    128 << 20,
    8_000_000,
    5_000_000,
];
/// Largest chunk that consists of whole parts of an object and is read by one thread; where parts
/// are larger, chunks stay small, and the written data is read again for its MD5s, up to
/// [`S3_READ_AGAIN_BYTES_MAX`].
pub const S3_PART_CHUNK_BYTES_MAX: u64 = 128 << 20;
/// Largest file that one thread reads again, at about 600 MB/s: as large as what a single request
/// can store.
pub const S3_READ_AGAIN_BYTES_MAX: u64 = S3_PART_BYTES_MAX;

/// Bytes of parts that a rank holds in memory on their way to a service.
pub const S3_BLOCKS_BYTES_MAX: u64 = 160 << 20;
/// Attempts of one request, the first one included.
pub const S3_ATTEMPTS_MAX: u32 = 10;
/// Shortest time without a new part after which an upload may be one that an interrupted job has
/// left: long enough for a part of the usual size on a slow line. Where its parts came less often,
/// the time is longer in proportion.
pub const S3_UPLOAD_QUIET_MIN: Duration = Duration::from_secs(2);
/// Longest time without a new part that a job waits before it takes over an upload: where parts
/// come less often, it begins another upload instead.
pub const S3_UPLOAD_QUIET_MAX: Duration = Duration::from_secs(30);
/// Age from which an upload without new parts was certainly left by an interrupted job, since no
/// part takes longer. More than two clocks may differ.
pub const S3_UPLOAD_LEFT: Duration = Duration::from_hours(1);
/// Attempts of a request whose answers have a status of success and are not proven complete: an
/// answer that a proxy has truncated may arrive complete the next time.
pub const S3_UNPROVEN_ATTEMPTS_MAX: u32 = 3;
/// Attempts of a request whose answer was cut off, or is not a complete document: with pauses, a
/// second together.
pub const S3_TORN_ATTEMPTS_MAX: u32 = 5;
/// Attempts of a request while a service has never answered: most likely it never will, and the
/// user waits for the error.
pub const S3_FIRST_ATTEMPTS_MAX: u32 = 5;
/// Attempts of a request while a service has never answered and each attempt times out, which takes
/// [`S3_CONNECT_WAIT`].
pub const S3_FIRST_TIMEOUTS_MAX: u32 = 2;
/// Time after the start of a job from which an object was certainly stored by this job, by the
/// service's clock, which is told in whole seconds.
pub const S3_CLOCK_STEP: Duration = Duration::from_secs(2);
/// First pause before a request is tried again; it doubles up to [`S3_BACKOFF_MAX`].
pub const S3_BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest pause before a request is tried again.
pub const S3_BACKOFF_MAX: Duration = Duration::from_secs(20);
/// Longest wait for a connection.
pub const S3_CONNECT_WAIT: Duration = Duration::from_secs(5);
/// Longest wait for the head of an answer: completing an upload of many parts, or copying a large
/// object within a service, is silent for minutes.
pub const S3_ANSWER_WAIT: Duration = Duration::from_mins(10);
/// Longest wait for the head of an answer to all requests that a service does not need minutes for,
/// counted from the time at which it has the whole request. Where a service accepts the first
/// request of a job and does not answer in this time, the job ends: the user waits for the error.
pub const S3_HEAD_WAIT: Duration = Duration::from_secs(25);
/// Slowest speed at which the content of a request is sent; below it the connection counts as
/// broken.
pub const S3_SEND_BYTES_PER_SECOND_MIN: u64 = 64 << 10;
/// Largest answer that is no object's content: a page of 1000 keys, each of 1024 bytes that are
/// encoded as three, has some 4 MiB.
pub const S3_DOCUMENT_BYTES_MAX: usize = 16 << 20;
/// Silence of a service after which the user is told of it.
pub const S3_SILENCE_TOLD: Duration = Duration::from_secs(10);
/// Silence of a service after which the job ends, by default: a restart takes less.
pub const S3_GIVE_UP_AFTER: Duration = Duration::from_mins(5);
/// Longest time that a request may go on after the job was interrupted: less than
/// [`INTERRUPT_WAIT_MAX`].
pub const S3_INTERRUPT_WAIT: Duration = Duration::from_secs(5);
/// Longest time that a request may take that is begun after the job was interrupted.
pub const S3_INTERRUPT_REQUEST: Duration = Duration::from_secs(1);
/// Longest wait for the next bytes of a body.
pub const S3_BODY_WAIT: Duration = Duration::from_mins(1);
/// Bytes that are read of an answer of which the status is enough: an error's code is at its
/// beginning.
pub const S3_REMARK_BYTES_MAX: usize = 256 << 10;
/// Longest wait for the end of such an answer from its head on: a long page takes 35 kB/s to come
/// in time.
pub const S3_DOCUMENT_WAIT: Duration = Duration::from_mins(2);
/// Size up to which objects are requested without a preceding HEAD request.
pub const S3_WHOLE_BYTES_MAX: u64 = 8 << 20;
/// Keys that one answer lists, at most; no service gives more.
pub const S3_PAGE_KEYS: i32 = 1000;
/// Objects that one request deletes, at most, as S3 has it.
pub const S3_DELETE_KEYS_MAX: usize = 1000;
/// Full pages of a listing that earn a cut of it, for others to list the rest. Each cut costs about
/// one request: half a page more on either side of it, or a probe that finds nothing.
pub const LISTING_CUT_PAGES: u32 = 6;
/// Cuts that a listing may make before it has earned any.
pub const LISTING_CUTS_FIRST: u32 = 10;
/// Pages that must be left of a listing for a cut to be worth it.
pub const LISTING_PAGES_MIN: u128 = 6;
/// Threads of a listing whose parts no other thread or rank may take, at most: as many requests of
/// the listing are in progress.
pub const S3_LISTING_THREADS: usize = 8;
/// Directories in a page of a listing at which all keys below it are requested.
pub const S3_SUBTREES_MIN: usize = 2;
/// Directories that a page of keys must complete, one page with the other, to be worth more than a
/// request for each.
pub const S3_SUBTREES_OF_PAGE: usize = 4;
/// Directories that a page of keys must complete where other threads are idle, and could list as
/// many meanwhile.
pub const S3_SUBTREES_HUNGRY: usize = 100;
/// Keys in a page that prove in which order they are listed: fewer could be in that order by
/// chance.
pub const S3_SUBTREES_KEYS_MIN: usize = 20;
/// Number of vain attempts of a listing to read all keys below it, after which it makes no more.
pub const S3_SUBTREES_FAILURES_MAX: u32 = 3;
/// Pages of a directory's listing that are cached to answer whether an entry exists, at some 100
/// KiB each.
pub const S3_INDEX_PAGES_MAX: u32 = 200;
/// Objects that are looked up by name before one more page of the listing is cheaper.
pub const S3_INDEX_MISSES: u32 = 4;
/// Directories whose listings a rank caches to answer whether an entry exists.
pub const S3_INDEXES_MAX: usize = 8;
/// Large objects of which a rank remembers the content's tag.
pub const S3_HEADS_MAX: usize = 64;
/// Default number of I/O threads of one node where a location is in S3: each has one request in
/// progress.
pub const S3_REQUESTS_OF_NODE: u32 = 256;
/// Shortest time before their expiry at which credentials are renewed. Each rank chooses another
/// time between this and [`CREDENTIALS_AHEAD_MAX`].
pub const CREDENTIALS_AHEAD_MIN: Duration = Duration::from_mins(5);
/// Longest time before their expiry at which credentials are renewed.
pub const CREDENTIALS_AHEAD_MAX: Duration = Duration::from_mins(15);
/// Pause before another attempt to renew credentials, where there were no new ones or they expire
/// at once.
pub const CREDENTIALS_AGAIN_MIN: Duration = Duration::from_secs(10);
/// Interval at which a thread checks whether another one has renewed credentials that have expired.
pub const CREDENTIALS_PAUSE: Duration = Duration::from_millis(50);

/// Encoded message between a client and the agent of another host, without its data: that of a file
/// with many extended attributes.
pub const REMOTE_HEAD_BYTES_MAX: usize = 1 << 20;
/// Content in one such message: enough to keep a connection busy, and no memory to speak of for all
/// requests in progress.
pub const REMOTE_DATA_BYTES_MAX: usize = 1 << 20;
/// Files up to this size travel in one message, together with their attributes.
pub const REMOTE_WHOLE_BYTES_MAX: u64 = 256 << 10;
/// Smallest message in bytes that is compressed: a packet of a network holds smaller ones anyway.
pub const REMOTE_PACK_BYTES_MIN: usize = 1024;
/// Largest number of messages that are not compressed before that is tried again: attempts in vain
/// then cost 2 % of what compressing everything would.
pub const REMOTE_PACK_PASSED_OVER_MAX: u32 = 63;
/// Directories above a root that are inspected for whether another root is one of them: their
/// metadata fits [`REMOTE_HEAD_BYTES_MAX`].
pub const LINEAGE_DIRECTORIES_MAX: usize = 2000;
/// Entries in one message of a listing: with names of 255 bytes they fit
/// [`REMOTE_HEAD_BYTES_MAX`].
pub const REMOTE_PAGE_ENTRIES: usize = 1000;
/// Entries of one remote directory whose listed metadata is remembered: 20 MB, and the extended
/// attributes that were listed with it.
pub const REMOTE_KNOWN_ENTRIES_MAX: usize = 100_000;
/// Writes, or reads ahead, of one file that wait for their answers: with the other threads of a
/// rank they fill a connection of 1 GB/s and 50 ms.
pub const REMOTE_WINDOW: usize = 4;
/// Small requests that travel in one message: few enough that other ranks get names of a directory,
/// and that the threads of an agent share the work.
pub const REMOTE_BUNDLE_REQUESTS: usize = 32;
/// Names of a directory whose entries are requested before the first of them is visited: a message
/// of requests. Other threads and ranks do not get these names.
pub const NAMES_REQUESTED_AHEAD: usize = REMOTE_BUNDLE_REQUESTS;
/// Names whose extended attributes are requested together: several messages, since nothing else is
/// done with most of them.
pub const NAMES_OF_XATTRS_AHEAD: usize = 4 * REMOTE_BUNDLE_REQUESTS;
/// Small files of a thread that are on their way to another host: some messages, so that one is
/// gathered while others travel.
pub const FILES_ON_THEIR_WAY: usize = 4 * REMOTE_BUNDLE_REQUESTS;
/// Content in bytes of these files: as much as two large messages have.
pub const BYTES_ON_THEIR_WAY: u64 = 2 * REMOTE_BUNDLE_BYTES_MAX as u64;
/// Requests, or answers, in bytes that travel in one message together: a few files of
/// [`REMOTE_WHOLE_BYTES_MAX`], and no more than what a thread holds anyway.
pub const REMOTE_BUNDLE_BYTES_MAX: usize = 512 << 10;
/// Size of the pipes to and from ssh in bytes: the largest one that users may have (pipe(7)).
pub const REMOTE_PIPE_BYTES: usize = 1 << 20;
/// Age up to which an answer about a path is used that was fetched with another one, before the job
/// begins: what is opened later is compared with it.
pub const REMOTE_ANSWER_AGE_MAX: Duration = Duration::from_secs(1);
/// Threads of an agent.
pub const REMOTE_AGENT_THREADS: usize = 64;
/// Requests that wait for a thread of an agent before it reads no further ones.
pub const REMOTE_AGENT_QUEUE: usize = 256;
/// Listings of which an agent holds the rest for its client.
pub const REMOTE_LISTS_MAX: usize = 4096;
/// Time in which an agent answers something, or is asked whether it is there; after a second one it
/// is given up. Storage there may be slow, but an agent has threads enough to answer.
pub const REMOTE_SILENCE_MAX: Duration = Duration::from_mins(1);
/// Ranks that connect to another host at once, before rank 0 knows that it can be reached: a wrong
/// key then fails that often, and hosts ban those who fail five times (fail2ban's default).
pub const REMOTE_RANKS_AT_ONCE: u32 = 4;
/// Connections of each rank to another host, at most.
pub const REMOTE_CONNECTIONS: u32 = 4;
/// Content of requests in progress on a connection to an agent nearby, in bytes, from which on
/// another one is opened: more than most small files of 32 threads, because another connection only
/// helps where processors are idle.
pub const REMOTE_BYTES_OF_CONNECTION: usize = 16 << 20;
/// Content of requests in progress on a connection to a far agent, in bytes, from which on another
/// one is opened: a channel of OpenSSH has 2 MiB on its way (`CHAN_SES_WINDOW_DEFAULT`), and the
/// pipes to it hold 1 MiB more, so that the rest waits.
pub const REMOTE_BYTES_OF_FAR_CONNECTION: usize = 4 << 20;
/// Round trip from which on an agent is far: 2 MiB in that time are 1 GB/s, as fast as a core
/// encrypts.
pub const REMOTE_FAR: Duration = Duration::from_millis(2);
/// Requests in progress on a connection to an SFTP server, which does one after the other, from
/// which on another one is opened.
pub const REMOTE_REQUESTS_OF_CONNECTION: usize = 8;
/// Attempts to connect to one host before it is given up for the others: with doubling pauses from
/// [`REMOTE_PAUSE`] on they take about 20 s, in which sshd's `MaxStartups` lets all ranks in.
pub const REMOTE_CONNECT_ATTEMPTS: u32 = 7;
/// First pause between two attempts to connect.
pub const REMOTE_PAUSE: Duration = Duration::from_millis(250);
/// Times that a request is sent again because its connection broke.
pub const REMOTE_REQUEST_ATTEMPTS: u32 = 5;
/// Time in which an agent ends after its connection is closed.
pub const REMOTE_END_MAX: Duration = Duration::from_secs(3);

/// Longest packet of an SFTP server that is accepted: OpenSSH's are of 256 KiB.
pub const SFTP_PACKET_BYTES_MAX: usize = 1 << 20;
/// Content in one request to an SFTP server that tells no limits: every server takes that much
/// (draft-ietf-secsh-filexfer-02, 3).
pub const SFTP_DATA_BYTES: u32 = 32 << 10;
/// Content in one request to an SFTP server that tells its limits, at most: OpenSSH's own limit.
pub const SFTP_DATA_BYTES_MAX: u32 = 255 << 10;
/// Content of one file that is requested from, or sent to, an SFTP server without waiting: it fills
/// a connection of 100 MB/s and 40 ms.
pub const SFTP_WINDOW_BYTES: u64 = 4 << 20;
/// Content that an SFTP server copies by one request: meanwhile it answers no other one of the
/// connection.
pub const SFTP_COPY_BYTES_MAX: u64 = 16 << 20;
/// Content that a server copies at a time, at most: OpenSSH 64 KiB.
pub const SFTP_COPY_BLOCK_BYTES: u64 = 1 << 20;
/// Requests for the next entries of a directory that are sent without waiting: OpenSSH returns 100
/// at a time.
pub const SFTP_LIST_WINDOW: usize = 16;
