use base64::{Engine as _, prelude::BASE64_STANDARD};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc::Receiver,
};

use super::*;
use crate::{Control, ControlError, Leader, Login, Progress};

/// A server that gives each request to a function, which says what to answer.
struct Fake {
    port: u16,
    _tasks: JoinSet<()>,
}

impl Fake {
    async fn start<F, Answering>(answer: F) -> Self
    where
        F: Fn(String, TcpStream) -> Answering + Send + Sync + 'static,
        Answering: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut answers = JoinSet::new();
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let request = request(&mut stream).await;
                answers.spawn(answer(request, stream));
            }
        });
        Self { port, _tasks: tasks }
    }

    /// One that gives every request the same answer.
    async fn saying(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |_, mut stream| {
            let answer = Arc::clone(&answer);
            async move {
                let _ = stream.write_all(&answer).await;
            }
        })
        .await
    }

    fn url(&self) -> Endpoint {
        format!("http://127.0.0.1:{}", self.port).parse().unwrap()
    }
}

/// Head and body of a request.
async fn request(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&read).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0) {
                return text;
            }
        }
        if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
            return text;
        }
    }
}

fn http(status: &str, body: &str) -> String {
    format!(
        "HTTP/1.0 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn cluster(leader: &str) -> String {
    let member = |name: &str| {
        let role = if name == leader { "leader" } else { "replica" };
        format!(r#"{{"name":"{name}","role":"{role}","state":"running","host":"h","port":1}}"#)
    };
    format!(r#"{{"members":[{},{}]}}"#, member("a"), member("b"))
}

fn settings(urls: Vec<Endpoint>, etcd: Vec<Endpoint>) -> Settings {
    Settings {
        urls,
        etcd,
        namespace: "service".to_owned(),
        scope: Some("main".to_owned()),
        interval: Duration::from_millis(100),
        timeout: Duration::from_secs(2),
        login: None,
        etcd_login: None,
        tls: conn::WebTls::default(),
    }
}

/// The next sighting that is an answer; `None`: the leader was not told.
async fn leader(sightings: &mut Receiver<Sighting>) -> Leader {
    loop {
        if let Said::All(view) = sightings.recv().await.unwrap().said {
            return view.leader.clone();
        }
    }
}

async fn trouble(sightings: &mut Receiver<Sighting>) -> String {
    loop {
        if let Said::Nothing(error) = sightings.recv().await.unwrap().said {
            return error.chain();
        }
    }
}

#[tokio::test]
async fn the_member_that_answers_is_believed_whoever_keeps_silent() {
    let silent = Fake::start(|_, stream| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let (failing, well) =
        (Fake::saying(http("503 x", "{}")).await, Fake::saying(http("200 OK", &cluster("b"))).await);
    let urls = vec![silent.url(), failing.url(), well.url()];
    let (follower, mut sightings) = Follower::start(&settings(urls, Vec::new())).unwrap();
    let first = sightings.recv().await.unwrap();
    assert_eq!((first.endpoint, first.source), (well.url(), Source::Rest));
    assert_eq!(first.said.view().unwrap().leader, Leader::Member("b".into()));
    assert_eq!(leader(&mut sightings).await, Leader::Member("b".into()));
    follower.stop().await;
    assert!(sightings.recv().await.is_none());
}

#[tokio::test]
async fn what_is_no_answer_is_told_as_trouble() {
    let endless = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec();
    let mut chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    chunks.extend(b"500000\r\n");
    chunks.extend(vec![b'x'; 0x50_0000]);
    let expected: [(Vec<u8>, &str); 8] = [
        (http("200 OK", r#"{"members":[],"scope":"other"}"#).into_bytes(), "another cluster, \"other\""),
        (http("200 OK", "<html>").into_bytes(), "not what Patroni answers"),
        (http("503 x", "").into_bytes(), "HTTP status 503"),
        (http("302 Found", "").into_bytes(), "HTTP status 302"),
        (b"SSH-2.0-OpenSSH\r\n".to_vec(), "the HTTP exchange failed"),
        (Vec::new(), "the HTTP exchange failed"),
        (endless, "HTTP exchange failed"),
        (chunks, "too long"),
    ];
    for (answer, words) in expected {
        let fake = Fake::saying(answer).await;
        let (_follower, mut sightings) = Follower::start(&settings(vec![fake.url()], Vec::new())).unwrap();
        let told = trouble(&mut sightings).await;
        assert!(told.contains(words), "{told}");
    }
}

#[tokio::test]
async fn members_are_asked_at_once_when_that_is_wanted() {
    let fake = Fake::saying(http("200 OK", &cluster("a"))).await;
    let slow = Settings { interval: Duration::from_secs(3600), ..settings(vec![fake.url()], Vec::new()) };
    let (follower, mut sightings) = Follower::start(&slow).unwrap();
    leader(&mut sightings).await;
    follower.ask_now();
    leader(&mut sightings).await;
    follower.set_pace(Pace::Eager);
    for _ in 0..3 {
        leader(&mut sightings).await;
    }
}

fn pair(key: &str, value: &str, revision: u64) -> String {
    let [key, value] =
        [format!("/service/main/{key}"), value.to_owned()].map(|text| BASE64_STANDARD.encode(text));
    format!(r#"{{"key":"{key}","value":"{value}","mod_revision":"{revision}"}}"#)
}

/// An etcd whose leader key names `a`, and after a moment `b`; then the watch ends.
async fn etcd() -> Fake {
    Fake::start(|request, mut stream| async move {
        if request.starts_with("POST /v3/kv/range") {
            let body = format!(r#"{{"header":{{"revision":"7"}},"kvs":[{}]}}"#, pair("leader", "a", 5));
            let _ = stream.write_all(http("200 OK", &body).as_bytes()).await;
            return;
        }
        assert!(request.contains(r#""start_revision":"8""#), "{request}");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        let event = format!(
            r#"{{"result":{{"header":{{"revision":"9"}},"events":[{{"kv":{}}}]}}}}"#,
            pair("leader", "b", 9)
        );
        let lines = format!("{{\"result\":{{\"created\":true}}}}\n{event}\n");
        // In the smallest pieces there are.
        for byte in lines.bytes() {
            let _ = stream.write_all(&[b'1', b'\r', b'\n', byte, b'\r', b'\n']).await;
            let _ = stream.flush().await;
        }
        let _ = stream.write_all(b"0\r\n\r\n").await;
    })
    .await
}

#[tokio::test]
async fn a_watch_tells_of_changes_and_goes_on_at_the_next_etcd_when_it_ends() {
    let (gone, refusing) =
        (Fake::saying("").await, Fake::saying(http("400 x", r#"{"error":"user name is empty"}"#)).await);
    let well = etcd().await;
    let endpoints = vec![gone.url(), refusing.url(), well.url()];
    let (_follower, mut sightings) = Follower::start(&settings(Vec::new(), endpoints)).unwrap();
    assert!(trouble(&mut sightings).await.contains("HTTP exchange failed"));
    assert_eq!(trouble(&mut sightings).await, "etcd refuses: user name is empty");
    for _ in 0..2 {
        assert_eq!(leader(&mut sightings).await, Leader::Member("a".into()));
        assert_eq!(leader(&mut sightings).await, Leader::Member("b".into()));
        assert_eq!(trouble(&mut sightings).await, "the watch has ended");
    }
}

#[tokio::test]
async fn etcds_user_is_shown_by_token() {
    let fake = Fake::start(|request, mut stream| async move {
        let answer = if request.starts_with("POST /v3/auth/authenticate") {
            assert!(request.contains(r#"{"name":"pgherd","password":"pw"}"#), "{request}");
            http("200 OK", r#"{"token":"t.1"}"#)
        } else if request.contains("authorization: t.1") {
            http("200 OK", &format!(r#"{{"header":{{"revision":"7"}},"kvs":[{}]}}"#, pair("leader", "a", 5)))
        } else {
            http("401 x", r#"{"error":"invalid auth token"}"#)
        };
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let login = Login { user: "pgherd".to_owned(), secret: Arc::new(auth::Secret::parse("pw").unwrap()) };
    let settings = Settings { etcd_login: Some(login), ..settings(Vec::new(), vec![fake.url()]) };
    let (_follower, mut sightings) = Follower::start(&settings).unwrap();
    assert_eq!(leader(&mut sightings).await, Leader::Member("a".into()));
}

#[tokio::test]
async fn verbs_are_carried_out_once_and_refusals_come_in_patronis_words() {
    let (asked_out, mut asked) = mpsc::channel::<String>(16);
    let fake = Fake::start(move |request, mut stream| {
        let out = asked_out.clone();
        async move {
            out.send(request.clone()).await.unwrap();
            let answer = match request.split(' ').nth(1).unwrap() {
                "/switchover" => http("202 Accepted", "Switchover scheduled"),
                "/failover" => http("412 x", "candidate does not exists"),
                "/config" => http("200 OK", "{}"),
                "/cluster" => http("200 OK", &cluster("a")),
                _ => String::new(),
            };
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    })
    .await;
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let nobody: Endpoint = format!("http://127.0.0.1:{nobody}").parse().unwrap();
    let login = Login { user: "u".to_owned(), secret: Arc::new(auth::Secret::parse("p").unwrap()) };
    let settings = Settings { login: Some(login), ..settings(vec![nobody.clone(), fake.url()], Vec::new()) };
    let control = Control::new(&settings).unwrap();

    let done = control.switchover("a", Some("b")).await.unwrap();
    assert_eq!((&*done.text, done.progress), ("Switchover scheduled", Progress::Accepted));
    let request = asked.recv().await.unwrap();
    assert!(
        request.contains(r#"{"candidate":"b","leader":"a"}"#)
            && request.contains("authorization: Basic dTpw")
    );
    let refused = control.failover("c").await.unwrap_err();
    assert_eq!(refused.to_string(), "Patroni refuses (412): candidate does not exists");
    control.pause().await.unwrap();
    control.resume().await.unwrap();
    let requests = [asked.recv().await.unwrap(), asked.recv().await.unwrap(), asked.recv().await.unwrap()];
    assert!(requests[1].starts_with("PATCH /config") && requests[1].ends_with(r#"{"pause":true}"#));
    assert!(requests[2].ends_with(r#"{"pause":null}"#), "{}", requests[2]);
    assert!(matches!(control.restart("a").await, Err(ControlError::NoMember(_))), "it told no URL");

    let silent = Fake::saying("").await;
    let control =
        Control::new(&Settings { urls: vec![silent.url(), fake.url()], ..settings.clone() }).unwrap();
    assert!(matches!(control.switchover("a", None).await, Err(ControlError::Lost { .. })), "not asked twice");
    let control = Control::new(&Settings { urls: vec![nobody], ..settings }).unwrap();
    assert!(matches!(control.pause().await, Err(ControlError::Unreachable { .. })));
}

#[tokio::test]
async fn without_the_store_members_still_tell_of_themselves() {
    let asked = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let api = Arc::new(std::sync::Mutex::new(String::new()));
    let fake = Fake::start({
        let api = Arc::clone(&api);
        move |request, mut stream| {
            let times = asked.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let url = api.lock().unwrap().clone();
            async move {
                let answer = if request.starts_with("GET /patroni") {
                    http("503 x", r#"{"state":"running","role":"master","timeline":4,"pause":true,"patroni":{"version":"3.0.2"}}"#)
                } else if times == 0 {
                    let members = format!(
                        r#"{{"members":[{{"name":"a","role":"leader","state":"running","api_url":"{url}"}},
                            {{"name":"b","role":"replica","state":"running","api_url":"http://127.0.0.1:1"}}]}}"#
                    );
                    http("200 OK", &members)
                } else {
                    http("503 x", "")
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    })
    .await;
    *api.lock().unwrap() = fake.url().to_string();
    let (_follower, mut sightings) = Follower::start(&settings(vec![fake.url()], Vec::new())).unwrap();
    assert_eq!(leader(&mut sightings).await, Leader::Member("a".into()));
    let Said::Parts(view, why) = sightings.recv().await.unwrap().said else { panic!("all or nothing") };
    assert!(why.chain().contains("503"), "{}", why.chain());
    assert_eq!((&view.leader, view.automation), (&Leader::Unknown, crate::Automation::Paused));
    let members: Vec<_> =
        view.members.iter().map(|member| (member.role, &*member.state, member.timeline)).collect();
    assert_eq!(
        members,
        [(crate::Role::Primary, "running", Some(4)), (crate::Role::Replica, "no answer", None)]
    );
}

#[tokio::test]
async fn the_password_goes_to_configured_hosts_alone() {
    let (asked_out, mut asked) = mpsc::channel::<String>(16);
    let port = Arc::new(std::sync::OnceLock::new());
    let fake = Fake::start({
        let port = Arc::clone(&port);
        move |request, mut stream| {
            let (out, port) = (asked_out.clone(), *port.get().unwrap());
            async move {
                let answer = if request.starts_with("GET /cluster") {
                    let members = format!(
                        r#"{{"members":[{{"name":"a","api_url":"http://127.0.0.1:{port}/patroni"}},
                            {{"name":"b","api_url":"http://localhost:{port}/patroni"}}]}}"#
                    );
                    http("200 OK", &members)
                } else {
                    out.send(request).await.unwrap();
                    http("200 OK", "restarted successfully")
                };
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    })
    .await;
    port.set(fake.port).unwrap();
    let login = Login { user: "u".to_owned(), secret: Arc::new(auth::Secret::parse("p").unwrap()) };
    let control =
        Control::new(&Settings { login: Some(login), ..settings(vec![fake.url()], Vec::new()) }).unwrap();
    control.restart("a").await.unwrap();
    assert!(asked.recv().await.unwrap().contains("authorization: Basic dTpw"));
    control.restart("b").await.unwrap();
    assert!(!asked.recv().await.unwrap().contains("authorization"), "it was not configured");
}
