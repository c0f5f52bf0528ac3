//! The presets that are too many for every run.

use super::{Case, GRAPHQL, SOCKETIO, SUPABASE, is_unseen, is_unseen_when_killed};

const LEGACY: Case = Case::new("graphql-ws", &["connected"]);
const HASURA: Case = Case::new("hasura", &["connected"]);
const HOME_ASSISTANT: Case = Case::new("home-assistant", &["ready"]);
const PHOENIX: Case = Case::new("phoenix", &["open", "joined"]);
const APPSYNC: Case = Case {
    route: "client = { token = { subprotocol = \"header-{token|json:/Authorization|base64url}\" } }",
    opens: true,
    http: true,
    ..Case::new("appsync", &["Connected"])
};
const MATTERMOST: Case = Case::new("mattermost", &["connected"]);
const SIGNALR: Case = Case { variant: "groups", http: true, ..Case::new("signalr", &["connected"]) };
const SOCKETCLUSTER: Case = Case::new("socketcluster", &["connected"]);
const ACTION_CABLE: Case = Case::new("action-cable", &["connected"]);
const KUBERNETES: Case = Case { opens: true, ..Case::new("kubernetes", &["exec 1 open"]) };
const DEEPGRAM: Case = Case { opens: true, ..Case::new("deepgram", &["stream 1 open"]) };
const OPENAI: Case = Case { opens: true, ..Case::new("openai", &["session 1 created"]) };
const JUPYTER: Case = Case { http: true, opens: true, ..Case::new("jupyter", &["connected"]) };

macro_rules! unseen {
    ($($name:ident $case:ident $(killed $killed:ident $missed:literal)?;)+) => {
        $(
            #[tokio::test]
            #[ignore = "needs npm packages: npm ci --prefix tests/dialects"]
            async fn $name() {
                is_unseen($case).await;
            }

            $(
                #[tokio::test]
                #[ignore = "needs npm packages: npm ci --prefix tests/dialects"]
                async fn $killed() {
                    is_unseen_when_killed($case, $missed).await;
                }
            )?
        )+
    };
}

// The number is what a client may miss in two outages. Jupyter's old connection ends before the new one is there: a refresh
// within two seconds of an outage belongs to it, and its dial waits up to a second.
unseen! {
    graphql_ws_older LEGACY killed graphql_ws_older_killed 4;
    hasura HASURA killed hasura_killed 4;
    home_assistant HOME_ASSISTANT killed home_assistant_killed 4;
    phoenix PHOENIX killed phoenix_killed 4;
    appsync APPSYNC killed appsync_killed 4;
    action_cable ACTION_CABLE killed action_cable_killed 4;
    mattermost MATTERMOST killed mattermost_killed 0;
    signalr SIGNALR killed signalr_killed 4;
    socketcluster SOCKETCLUSTER killed socketcluster_killed 4;
    kubernetes KUBERNETES;
    deepgram DEEPGRAM;
    openai OPENAI;
    jupyter JUPYTER killed jupyter_killed 10;
}

#[tokio::test]
#[ignore = "needs npm packages: npm ci --prefix tests/dialects"]
async fn graphql_transport_ws_killed() {
    is_unseen_when_killed(GRAPHQL, 4).await;
}

/// The room that the client joins by an event is joined again.
#[tokio::test]
#[ignore = "needs npm packages: npm ci --prefix tests/dialects"]
async fn socketio_rooms() {
    is_unseen(Case { variant: "rooms", ..SOCKETIO }).await;
}

/// The service keeps rooms and events for a client that comes back.
#[tokio::test]
#[ignore = "needs npm packages: npm ci --prefix tests/dialects"]
async fn socketio_recovers() {
    is_unseen(Case { variant: "recovers", ..SOCKETIO }).await;
}

#[tokio::test]
#[ignore = "needs npm packages: npm ci --prefix tests/dialects"]
async fn socketio_killed() {
    is_unseen_when_killed(SOCKETIO, 4).await;
}

#[tokio::test]
#[ignore = "needs npm packages: npm ci --prefix tests/dialects"]
async fn supabase_killed() {
    is_unseen_when_killed(Case { http: true, ..SUPABASE }, 4).await;
}
