//! What coturn does not do, or not every time: servers that are written out here, byte by byte.

use tokio::io::duplex;
use tokio::net::TcpListener;

use super::*;
use crate::turn::Allocation;

const PATIENCE: Duration = Duration::from_secs(20);

fn bind() -> Bind {
    let profile = Profile {
        credentials: Credentials {
            username: "anna".into(),
            password: "secret".into(),
        },
        patience: PATIENCE,
        lifetime: LIFETIME,
        extra: Vec::new(),
    };
    let now = Instant::now().into_std();
    let client = Client::new(now, profile, Box::new(TransactionId::generate));
    client.bind(now, 7, Box::new(TransactionId::generate))
}

/// A success response without attributes to a request; 20 bytes.
fn success(request: &[u8]) -> Vec<u8> {
    [&[1, request[1], 0, 0], &request[4..20]].concat()
}

#[tokio::test]
async fn bytes_that_come_with_the_answer_to_a_bind_are_the_peers() {
    let (mut ours, mut theirs) = duplex(1024);
    let serve = async {
        let mut request = [0; 28];
        theirs.read_exact(&mut request).await.unwrap();
        assert_eq!(request[20..], [0, 0x2a, 0, 4, 0, 0, 0, 7]);
        theirs
            .write_all(&[&success(&request)[..], b"USER anna\r\n"].concat())
            .await
            .unwrap();
    };
    let mut bind = bind();
    let (claimed, ()) = tokio::join!(claim(&mut ours, &mut bind), serve);
    claimed.unwrap();
    let mut first = [0; 11];
    timeout(PATIENCE, ours.read_exact(&mut first))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(&first, b"USER anna\r\n");
}

#[tokio::test]
async fn a_server_that_hangs_up_on_a_bind_is_lost() {
    let (mut ours, mut theirs) = duplex(1024);
    let serve = async {
        theirs.read_exact(&mut [0; 28]).await.unwrap();
        drop(theirs);
    };
    let mut bind = bind();
    let (claimed, ()) = tokio::join!(claim(&mut ours, &mut bind), serve);
    assert!(matches!(claimed, Err(TurnError::Lost(_))));
}

/// A server that grants an allocation and reads on, and all that it then reads.
async fn granting() -> (TurnServer, tokio::task::JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("turn:127.0.0.1:{}", listener.local_addr().unwrap().port())
        .parse()
        .unwrap();
    let serving = tokio::spawn(async move {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 20];
        tcp.read_exact(&mut request).await.unwrap();
        let mut body = vec![0; usize::from(u16::from_be_bytes([request[2], request[3]]))];
        tcp.read_exact(&mut body).await.unwrap();
        let address = [0, 8, 0, 1, 0x21 ^ 1, 0x12 ^ 1, 0x21 ^ 127, 0x12, 0xa4, 0x42 ^ 1];
        let mut answer = [&[1, 3, 0, 32], &request[4..20]].concat();
        answer.extend(
            [
                &[0, 0x16][..],
                &address,
                &[0, 0x20],
                &address,
                &[0, 0x0d, 0, 4, 0, 0, 2, 88],
            ]
            .concat(),
        );
        tcp.write_all(&answer).await.unwrap();
        tcp
    });
    (server, serving)
}

#[tokio::test]
async fn a_withdrawn_permission_is_waited_for_no_longer() {
    let (server, serving) = granting().await;
    let (allocation, _incoming) = Allocation::open(&server, Vec::new(), PATIENCE).await.unwrap();
    assert_eq!(allocation.relayed(), "127.0.0.1:257".parse().unwrap());
    let _tcp = serving.await.unwrap();
    let ip = "192.0.2.1".parse().unwrap();
    let (permitted, ()) = tokio::join!(allocation.permit(ip), allocation.forbid(ip));
    assert!(
        matches!(permitted, Err(TurnError::Protocol(ProtocolError::Withdrawn))),
        "{permitted:?}"
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_costs_patience_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("turn:127.0.0.1:{}", listener.local_addr().unwrap().port())
        .parse()
        .unwrap();
    let error = Allocation::open(&server, Vec::new(), Duration::from_millis(50))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            TurnError::TimedOut | TurnError::Protocol(ProtocolError::Silent)
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_speaks_something_else_is_no_turn_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = format!("turn:127.0.0.1:{}", listener.local_addr().unwrap().port())
        .parse()
        .unwrap();
    let serve = async {
        let (mut tcp, _) = listener.accept().await.unwrap();
        tcp.write_all(b"220 ready\r\n").await.unwrap();
        tcp
    };
    let (opened, _tcp) = tokio::join!(Allocation::open(&server, Vec::new(), PATIENCE), serve);
    assert!(matches!(
        opened,
        Err(TurnError::Protocol(ProtocolError::Frame(_)))
    ));
}

#[tokio::test]
async fn a_lost_control_connection_is_the_reason_that_is_told() {
    let (server, serving) = granting().await;
    let (allocation, mut incoming) = Allocation::open(&server, Vec::new(), PATIENCE).await.unwrap();
    drop(serving.await.unwrap());
    assert!(matches!(allocation.ended().await, TurnError::Lost(_)));
    assert!(incoming.recv().await.is_none());
}
