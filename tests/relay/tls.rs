//! TLS on both legs: who is not who the configuration says is not spoken with.

use std::path::Path;

use perennial::{app::App, config::Config};
use rcgen::date_time_ymd;

use crate::support::{
    http::handshake,
    plain,
    service::Service,
    soon,
    tls::{Authority, Pair, acceptor, dial},
    ws::{TEXT, Wire, bare, masked, session},
};

async fn start(listen: &str, route: &str) -> App {
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\n{listen}\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [limits]\nhandshake = \"2s\"\ndrain = \"0s\"\n{route}"
    );
    App::start(&Config::parse(&text, "test").unwrap()).await.unwrap()
}

fn secure(port: u16, ca: &Path, name: &str) -> String {
    let route = plain(port).replace("ws://", "wss://");
    format!("{route}[route.tls]\nca = \"{}\"\n{name}\n", ca.display())
}

async fn relays(client: &mut Wire, theirs: &mut Wire) {
    client.send(masked(TEXT, &[b'u'; 30_000])).await;
    assert_eq!(theirs.message().await.payload, [b'u'; 30_000]);
    theirs.send(bare(TEXT, &[b'd'; 30_000])).await;
    assert_eq!(client.message().await.payload, [b'd'; 30_000]);
}

#[tokio::test]
async fn a_service_that_shows_the_right_certificate_is_spoken_with() {
    let authority = Authority::new();
    let pair = authority.sign(&["service.test"], |_| {});
    let service = Service::start_tls(acceptor(&pair)).await;
    let app = start("", &secure(service.port, &authority.ca, "server_name = \"service.test\"")).await;
    let (mut client, mut theirs) = session(app.address().port(), &service).await;
    relays(&mut client, &mut theirs).await;
    drop((client, theirs));
    app.stop().await;
}

#[tokio::test]
async fn a_service_that_cannot_prove_its_name_is_not_spoken_with() {
    let (authority, other) = (Authority::new(), Authority::new());
    let good = authority.sign(&["service.test"], |_| {});
    let expired = authority.sign(&["expired.test", "service.test"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let named = "server_name = \"service.test\"";
    let cases: [(&str, &Pair, &Path, &str); 4] = [
        ("wrong name", &good, &authority.ca, ""),
        ("another name", &good, &authority.ca, "server_name = \"evil.test\""),
        ("unknown authority", &good, &other.ca, named),
        ("expired", &expired, &authority.ca, named),
    ];
    for (what, pair, ca, name) in cases {
        let service = Service::start_tls(acceptor(pair)).await;
        let app = start("", &secure(service.port, ca, name)).await;
        let port = app.address().port();
        let ((answer, _), connection) =
            tokio::join!(crate::support::http::ask(port, handshake("/", "")), service.connection());
        assert_eq!(answer.status(), 502, "{what}");
        if let Some(mut connection) = connection {
            assert_eq!(connection.head().await.first, "", "{what}: nothing was asked of it");
        }
        assert!(app.metrics().contains("perennial_sessions{route=\"plain\",state=\"live\"} 0"));
        app.stop().await;
    }
}

fn listen(pair: &Pair, client_ca: Option<&Path>) -> String {
    let client_ca = client_ca.map_or(String::new(), |ca| format!("client_ca = \"{}\"\n", ca.display()));
    format!("certificate = \"{}\"\nkey = \"{}\"\n{client_ca}", pair.0.display(), pair.1.display())
}

#[tokio::test]
async fn a_client_speaks_tls_with_the_listener() {
    let authority = Authority::new();
    let pair = authority.sign(&["127.0.0.1"], |params| params.not_after = date_time_ymd(2100, 1, 1));
    let service = Service::start().await;
    let app = start(&listen(&pair, None), &plain(service.port)).await;
    let ends =
        "perennial_tls_certificate_expiration_timestamp_seconds{listener=\"clients\",route=\"\"} 4102444800";
    assert!(app.metrics().contains(ends), "{}", app.metrics());
    let mut client = dial(app.address().port(), &authority.ca, None).await.unwrap();
    client.send(handshake("/", "")).await;
    let mut theirs = service.asked().await.accept("").await;
    assert_eq!(client.head().await.status(), 101);
    relays(&mut client, &mut theirs).await;
    // Its TLS handshake has the same deadline as the rest.
    let mut silent = Wire::dial(app.address().port()).await;
    silent.send(&[22, 3, 1, 0]).await;
    soon("the end of a handshake that never ends", silent.rest()).await;
    relays(&mut client, &mut theirs).await;
    drop((client, theirs));
    app.stop().await;
}

#[tokio::test]
async fn a_client_without_a_certificate_is_turned_away_where_one_is_wanted() {
    let (authority, other) = (Authority::new(), Authority::new());
    let pair = authority.sign(&["127.0.0.1"], |_| {});
    let good = authority.sign(&["client.test"], |_| {});
    let forged = other.sign(&["client.test"], |_| {});
    let service = Service::start().await;
    let app = start(&listen(&pair, Some(&authority.ca)), &plain(service.port)).await;
    let port = app.address().port();
    for shown in [None, Some(&forged)] {
        // TLS 1.3: the client learns of it only when it reads.
        if let Ok(mut client) = dial(port, &authority.ca, shown).await {
            let _ = client.try_send(handshake("/", "").as_bytes()).await;
            assert_eq!(client.head().await.first, "");
        }
        assert!(service.is_alone().await);
    }
    let mut client = dial(port, &authority.ca, Some(&good)).await.unwrap();
    client.send(handshake("/", "")).await;
    let mut theirs = service.asked().await.accept("").await;
    assert_eq!(client.head().await.status(), 101);
    relays(&mut client, &mut theirs).await;
    drop((client, theirs));
    app.stop().await;
}
