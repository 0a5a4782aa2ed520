//! Tests of compressed messages.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use remote::agent::{AgentOptions, serve};
use remote::connection::Link;
use remote::doors::Dial;
use remote::host::{Host, HostSettings};
use remote::store::RemoteStore;
use store::opening::OpenAs;
use store::{NewFile, Store};
use types::entry::Attributes;
use types::path::RelPath;

/// A pipe whose bytes are counted.
struct Counted<P>(P, Arc<AtomicUsize>);

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.fetch_add(count, Ordering::SeqCst);
        Ok(count)
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let count = self.0.write(bytes)?;
        self.1.fetch_add(count, Ordering::SeqCst);
        Ok(count)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// Returns how agents in this process are reached, with the numbers of bytes that are received and
/// sent.
fn counted() -> (Box<Dial>, [Arc<AtomicUsize>; 2]) {
    let moved = [Arc::default(), Arc::default()];
    let [received, sent] = moved.clone();
    let dial = move |_: &str| {
        let (agents_input, to) = std::io::pipe().unwrap();
        let (from, agents_output) = std::io::pipe().unwrap();
        std::thread::spawn(move || serve(agents_input, agents_output, &AgentOptions::default()));
        let from = Box::new(Counted(from, Arc::clone(&received)));
        Ok(Link { from, to: Box::new(Counted(to, Arc::clone(&sent))), child: None })
    };
    (Box::new(dial), moved)
}

/// Checks that messages are compressed in both directions, and that nothing else changes.
#[test]
fn compressed_messages_are_smaller_and_have_the_same_content() {
    let dir = tempfile::tempdir().unwrap();
    let text = b"what can be compressed ".repeat(100_000);
    std::fs::write(dir.path().join("text"), &text).unwrap();
    let moved = [false, true].map(|compress| {
        let (dial, moved) = counted();
        let settings = HostSettings { compress, ..HostSettings::of(vec!["host".to_owned()]) };
        let host = Arc::new(Host::dialled(settings, dial));
        let path = dir.path().as_os_str().as_encoded_bytes();
        let store = RemoteStore::open(&host, path, OpenAs::default()).unwrap();
        let root = store.open_dir(&RelPath::root()).unwrap();
        let file = root.open_file(c"text").unwrap();
        let mut read = vec![0; text.len()];
        let mut filled = 0;
        while filled < read.len() {
            filled += file.read_at(&mut read[filled..], filled as u64).unwrap();
        }
        assert!(read == text);
        let attributes = Attributes { mode: Some(0o644), ..Attributes::default() };
        let staged = root.stage_file(&NewFile::new(c".new", c"new", &attributes)).unwrap();
        staged.write_at(&text, 0).unwrap();
        staged.commit(&attributes, Vec::new()).unwrap();
        assert!(std::fs::read(dir.path().join("new")).unwrap() == text);
        moved.each_ref().map(|bytes| bytes.load(Ordering::SeqCst))
    });
    for direction in [0, 1] {
        let [plain, compressed] = moved.map(|bytes| bytes[direction]);
        assert!(plain > text.len() && compressed < plain / 20, "{moved:?}");
    }
}
