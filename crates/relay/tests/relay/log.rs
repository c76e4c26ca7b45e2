//! What the log says of a stream: whose it was, between whom, how much, and how it ended. Nothing of what it carried.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::client::{PASSWORD, config, incoming, start};

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// The relay's tasks run on the test's own thread, so that its subscriber hears them and no other test's.
#[tokio::test]
async fn a_stream_has_one_line_that_says_whose_bytes_and_how_many_and_none_of_them() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _heard = tracing::subscriber::set_default(subscriber);
    let relay = start(config());
    let (control, mut client, mut peer) = incoming(&relay).await;
    let mut buffer = [0; 64];
    peer.write_all(b"a question").await.unwrap();
    client.read_exact(&mut buffer[..10]).await.unwrap();
    client.write_all(b"the whole answer").await.unwrap();
    client.shutdown().await.unwrap();
    peer.read_exact(&mut buffer[..16]).await.unwrap();
    assert_eq!(peer.read(&mut buffer).await.unwrap(), 0);
    peer.shutdown().await.unwrap();
    assert_eq!(client.read(&mut buffer).await.unwrap(), 0);
    relay.until(|metrics| metrics.streams.value(), 0).await;
    drop(control);
    relay.until(|metrics| metrics.allocations.value(), 0).await;

    let said = log.text();
    let lines = |what: &str| -> Vec<&str> {
        said.lines()
            .filter(|line| line.contains("INFO") && line.contains(what))
            .collect()
    };
    let [stream] = lines("stream ends")[..] else {
        panic!("{said}")
    };
    let expected = format!(
        "client={} peer={} user=\"anna\" bytes_to_peer=16 bytes_to_client=10 elapsed=",
        client.local_addr().unwrap(),
        peer.local_addr().unwrap()
    );
    assert!(stream.contains(&expected), "{stream}");
    assert!(stream.ends_with("reason=\"finished\""), "{stream}");
    assert_eq!(lines("allocation ends").len(), 1, "{said}");
    for hidden in [PASSWORD, "question", "answer"] {
        assert!(!said.contains(hidden), "{said}");
    }
}
