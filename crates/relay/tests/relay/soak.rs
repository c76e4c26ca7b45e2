//! Many streams at once, of random sizes, paces and ends: no end that looks whole and is not, and no byte lost of one that is.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::client::{HERE, Random, Running, bytes, config, start};

/// What a run is made of. The same seed makes the same streams.
#[derive(Clone, Copy)]
struct Soak {
    rounds: u64,
    /// The longest that one side sends.
    longest: usize,
    seed: u64,
}

/// Streams at a time.
const PARALLEL: usize = 6;
/// No stream takes longer, however busy the machine is.
const DEADLINE: Duration = Duration::from_secs(300);

/// A few of the rounds, in every run of the tests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_of_all_sizes_and_ends_arrive_whole_or_broken_but_never_as_what_they_are_not() {
    let run = Soak {
        rounds: 200,
        longest: 16 << 20,
        seed: 1,
    };
    soak(run).await;
}

/// All of them: `cargo test --release -p pasarela-relay --test relay -- --ignored --nocapture soak`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes minutes; PASARELA_SOAK_SEED and PASARELA_SOAK_ROUNDS make others"]
async fn a_soak_of_a_thousand_streams_of_up_to_64_mib_each_way() {
    let number = |name: &str, default| std::env::var(name).map_or(default, |text| text.parse().unwrap());
    let run = Soak {
        rounds: number("PASARELA_SOAK_ROUNDS", 1000),
        longest: 64 << 20,
        seed: number("PASARELA_SOAK_SEED", 1),
    };
    soak(run).await;
}

/// One side of a stream: what it sends, what it shall get, and how.
struct Side {
    sends: Content,
    gets: Content,
    /// It resets the connection when it has sent this many bytes, which are not all.
    abort_at: Option<usize>,
    /// The most it reads, and writes, at a time.
    bite: usize,
    /// It pauses after so many bites; 0 for never.
    pause_every: usize,
    /// It reads nothing before it has written all.
    writes_first: bool,
}

/// Bytes that differ from stream to stream and from place to place.
#[derive(Clone)]
struct Content {
    block: Arc<Vec<u8>>,
    offset: usize,
    length: usize,
}

impl Content {
    /// At most `most` bytes from `at` on.
    fn from(&self, at: usize, most: usize) -> &[u8] {
        let begin = (self.offset + at) % self.block.len();
        let length = most.min(self.length - at).min(self.block.len() - begin);
        &self.block[begin..begin + length]
    }
}

/// What a side saw.
struct Seen {
    got: usize,
    /// How its reading ended; `None` when it was the one that aborted.
    end: Option<Result<(), ErrorKind>>,
    /// Whether all it had to send was taken.
    sent_all: bool,
}

impl Side {
    async fn run(self, mut stream: TcpStream) -> Seen {
        let aborts = self.abort_at.is_some();
        let (mut got, mut end, mut sent) = (0, None, None);
        {
            let (mut reads, mut writes) = stream.split();
            let mut writing = Box::pin(async {
                let upto = self.abort_at.unwrap_or(self.sends.length);
                let (mut at, mut bites) = (0, 0);
                while at < upto {
                    let piece = self.sends.from(at, self.bite.min(upto - at));
                    writes.write_all(piece).await?;
                    at += piece.len();
                    bites += 1;
                    self.pace(bites).await;
                }
                if aborts { Ok(()) } else { writes.shutdown().await }
            });
            if self.writes_first {
                sent = Some(writing.as_mut().await);
            }
            let mut reading = Box::pin(async {
                let mut buffer = vec![0; self.bite];
                let mut bites = 0;
                loop {
                    match reads.read(&mut buffer).await {
                        Ok(0) => return Ok(()),
                        Ok(length) => {
                            let mut piece = &buffer[..length];
                            while !piece.is_empty() {
                                assert!(got < self.gets.length, "more than was sent");
                                let expected = self.gets.from(got, piece.len());
                                assert!(piece[..expected.len()] == *expected, "other bytes at {got}");
                                got += expected.len();
                                piece = &piece[expected.len()..];
                            }
                        }
                        Err(error) => return Err(error.kind()),
                    }
                    bites += 1;
                    self.pace(bites).await;
                }
            });
            while (sent.is_none() || end.is_none()) && !(aborts && sent.is_some()) {
                tokio::select! {
                    outcome = &mut writing, if sent.is_none() => sent = Some(outcome),
                    outcome = &mut reading, if end.is_none() => end = Some(outcome),
                }
            }
        }
        if aborts {
            stream.set_zero_linger().unwrap();
            end = None;
        }
        Seen {
            got,
            end,
            sent_all: sent.is_some_and(|outcome: io::Result<()>| outcome.is_ok()),
        }
    }

    async fn pace(&self, bites: usize) {
        if self.pause_every > 0 && bites.is_multiple_of(self.pause_every) {
            sleep(Duration::from_millis(1)).await;
        }
    }
}

/// A length: often short, sometimes the longest.
fn length(random: &mut Random, longest: usize) -> usize {
    match random.below(16) {
        0 => longest,
        1 => 0,
        _ => {
            let bits = usize::try_from(longest.ilog2()).unwrap() + 1;
            let most = 1 << (1 + random.below(bits));
            random.below(longest.min(most))
        }
    }
}

/// Carried bytes, and whether the stream was aborted.
async fn round(relay: &Running, block: Arc<Vec<u8>>, run: Soak, number: u64) -> (u64, bool) {
    let mut random = Random::new(run.seed.wrapping_mul(1_000_003).wrapping_add(number));
    let mut content = || Content {
        offset: random.below(block.len()),
        length: length(&mut random, run.longest),
        block: Arc::clone(&block),
    };
    let (up, down) = (content(), content());
    let (early, aborter) = (random.below(2) == 0, random.below(5));
    let mut side = |sends: &Content, gets: &Content, aborts: bool| Side {
        abort_at: (aborts && sends.length > 0).then(|| random.below(sends.length)),
        // Slow ones read small pieces of short streams and pause among those of long ones.
        bite: if sends.length.max(gets.length) > 1 << 20 {
            4096 + random.below(128 * 1024)
        } else {
            1 + random.below(16 * 1024)
        },
        pause_every: [0, 0, 16, 64][random.below(4)],
        // Two that do so and fill the kernel would wait for each other.
        writes_first: sends.length < 16 * 1024 && random.below(2) == 0,
        sends: sends.clone(),
        gets: gets.clone(),
    };
    let client_side = side(&up, &down, aborter == 0);
    let peer_side = side(&down, &up, aborter == 1);
    let aborted = client_side.abort_at.or(peer_side.abort_at).is_some();

    let mut control = relay.client("anna").await;
    let relayed = control.allocate(&[]).await.success().relayed();
    control.permit(HERE).await;
    let peer = TcpStream::connect(relayed).await.unwrap();
    let id = control.attempt().await.id();
    let (peer_saw, client_saw) = if early {
        let peer = tokio::spawn(peer_side.run(peer));
        // The peer may have written, finished or gone by now.
        let client = relay.bind("anna", id).await;
        let client_saw = client_side.run(client).await;
        (peer.await.unwrap(), client_saw)
    } else {
        let client = relay.bind("anna", id).await;
        tokio::join!(peer_side.run(peer), client_side.run(client))
    };
    for (seen, sent, other) in [(&client_saw, &down, &peer_saw), (&peer_saw, &up, &client_saw)] {
        if aborted {
            // The one who stayed has to learn it. The kernel tells a reset once: to a write, and then the next read
            // finds an end.
            let whole = seen.end == Some(Ok(())) && seen.sent_all;
            assert!(!whole, "round {number}: an abort that looked like an end");
        } else {
            assert_eq!(seen.end, Some(Ok(())), "round {number}");
            assert_eq!(seen.got, sent.length, "round {number}");
            assert!(other.sent_all, "round {number}");
        }
    }
    ((client_saw.got + peer_saw.got) as u64, aborted)
}

async fn soak(run: Soak) {
    let begun = Instant::now();
    let mut config = config();
    config.unauthenticated_per_address = 512;
    let relay = Arc::new(start(config));
    // A prime number of bytes, so that no two places of a stream are alike by chance.
    let block = Arc::new(bytes(run.seed, 1_048_573));
    let (mut carried, mut aborts) = (0, 0);
    let mut rounds = JoinSet::new();
    for number in 0..run.rounds {
        if rounds.len() >= PARALLEL {
            let (bytes, aborted) = rounds.join_next().await.unwrap().unwrap();
            carried += bytes;
            aborts += u64::from(aborted);
        }
        let (relay, block) = (Arc::clone(&relay), Arc::clone(&block));
        rounds.spawn(async move {
            timeout(DEADLINE, round(&relay, block, run, number))
                .await
                .unwrap_or_else(|_| panic!("round {number} hangs"))
        });
    }
    while let Some(done) = rounds.join_next().await {
        let (bytes, aborted) = done.unwrap();
        carried += bytes;
        aborts += u64::from(aborted);
    }
    relay.until(|metrics| metrics.streams.value(), 0).await;
    relay.until(|metrics| metrics.allocations.value(), 0).await;
    let metrics = &relay.metrics;
    assert_eq!(metrics.waiting.value(), 0);
    assert_eq!(metrics.streams_total.value(), run.rounds);
    assert_eq!(metrics.streams_reset_total.value(), aborts);
    assert!(run.rounds < 100 || (aborts > 0 && aborts < run.rounds / 2));
    eprintln!(
        "{} streams, {aborts} of them aborted, {carried} bytes arrived, {:?}",
        run.rounds,
        begun.elapsed()
    );
}
