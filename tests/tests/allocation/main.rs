//! No allocation per message in steady state: a worker serves a client in front of a server, and everything that the
//! process allocates meanwhile is counted. Client and server here allocate nothing once they run, so whatever is
//! counted is the worker's. It looks after its pools ten times a second and may allocate then, which is no matter of
//! messages: at most so many of the many small batches of requests see any allocation.

#![expect(clippy::unwrap_used, reason = "a test panics where it cannot go on")]

#[path = "../in_process.rs"]
mod in_process;
mod server;

use std::{
    alloc::System,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use testkit::Batch;
use tokio::time::Instant;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Requests before anything is counted: buffers grow to their size, pools and caches fill.
const WARM_UP: usize = 1000;
/// Batches that are counted one by one, and requests in each.
const BATCHES: usize = 1000;
const REQUESTS: usize = 10;
/// The worker's periodic work.
const TICK: Duration = Duration::from_millis(100);

#[test]
fn messages_cost_no_allocation_in_steady_state() {
    let parameters =
        in_process::start(server::start(), pool::Settings::default(), session::Timeouts::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = runtime.block_on(async {
        let mut client = parameters.connect().await.unwrap();
        let prepare = Batch::new().parse("named", "select name from things where id = $1").sync();
        assert_eq!(client.run(&prepare).await.len(), 2);
        client.into_blocking().unwrap()
    });
    let call = |batch: Batch| batch.bind("", "named", &[Some("17")]).execute("", 0);
    let scripts = [
        ("a simple query", Batch::new().query("select 1"), 1),
        ("a prepared statement", call(Batch::new()).sync(), 1),
        (
            "a described portal",
            Batch::new().bind("", "named", &[Some("1")]).describe_portal("").execute("", 0).sync(),
            1,
        ),
        (
            "an unnamed statement",
            Batch::new().parse("", "select 2").bind("", "", &[]).execute("", 0).sync(),
            1,
        ),
        ("a pipeline", call(call(call(Batch::new()).sync()).sync()).sync(), 3),
        ("a transaction", Batch::new().query("begin").query("update t set a = 1").query("commit"), 3),
        ("many rows", Batch::new().query("many"), 1),
    ];
    let mut client = Requester { stream: client, buffer: vec![0; 256 * 1024] };
    for (name, batch, ready) in &scripts {
        client.check(name, batch, *ready);
    }
}

/// Sends requests and counts ReadyForQuery, without allocating.
struct Requester {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Requester {
    #[track_caller]
    fn check(&mut self, name: &str, batch: &Batch, ready: usize) {
        for _ in 0..WARM_UP {
            self.request(batch, ready);
        }
        let began = Instant::now();
        let mut touched = 0_u32;
        let mut allocations = 0;
        for _ in 0..BATCHES {
            let region = Region::new(ALLOCATOR);
            for _ in 0..REQUESTS {
                self.request(batch, ready);
            }
            let change = region.change();
            let here = change.allocations + change.reallocations;
            allocations += here;
            touched += u32::from(here > 0);
        }
        let elapsed = began.elapsed();
        // One tick can touch the end of a batch and the beginning of the next.
        let ticks = 2 * (u32::try_from(elapsed.as_millis() / TICK.as_millis()).unwrap() + 1);
        println!(
            "{name}: {} requests in {elapsed:.1?}, {allocations} allocations in {touched} of {BATCHES} batches, at most {ticks} by ticks",
            BATCHES * REQUESTS,
        );
        assert!(touched <= ticks, "{name}: {touched} of {BATCHES} batches allocated, {ticks} by ticks");
    }

    fn request(&mut self, batch: &Batch, mut ready: usize) {
        self.stream.write_all(batch.bytes()).unwrap();
        let mut filled = 0;
        while ready > 0 {
            let read = self.stream.read(&mut self.buffer[filled..]).unwrap();
            assert!(read > 0, "the proxy hung up");
            filled += read;
            let mut at = 0;
            while let Some(&[tag, a, b, c, d]) = self.buffer[at..filled].first_chunk() {
                let length = u32::from_be_bytes([a, b, c, d]) as usize + 1;
                if filled - at < length {
                    break;
                }
                assert_ne!(tag, b'E', "{}", self.buffer[at..filled].escape_ascii());
                ready -= usize::from(tag == b'Z');
                at += length;
            }
            self.buffer.copy_within(at..filled, 0);
            filled -= at;
        }
    }
}
