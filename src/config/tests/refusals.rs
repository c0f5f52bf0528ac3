//! A wrong configuration of each kind, and exactly what is said of it.

use super::refused;

/// One route with these lines added, first at the route, then with a table of its own.
fn plain(lines: &str) -> String {
    format!("[[route]]\nupstream = \"wss://h\"\ndialect = \"none\"\n{lines}")
}

/// One Ably route with `[route.token]` holding these lines.
fn token(lines: &str) -> String {
    format!("[[route]]\nupstream = \"wss://h\"\ndialect = \"ably\"\n[route.token]\n{lines}")
}

fn http(lines: &str) -> String {
    token(&format!("source = \"http\"\nurl = \"https://h/t\"\n{lines}"))
}

fn check(cases: &[(String, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(text, want)| (refused(text), text, want))
        .filter(|(said, _, want)| said != *want)
        .map(|(said, text, want)| format!("--- {text}\nsaid: {said}\nwant: {want}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn of_the_file() {
    check(&[
        (String::new(), "p:1:1: route: missing; add a [[route]] with an upstream and a dialect"),
        ("[listen".into(), "p:1:8: unclosed table, expected `]`"),
        ("a = 'CANARY".into(), "p:1:12: invalid literal string, expected `'`"),
        (plain("name = \"a\"\nname = \"b\""), "p:5:1: duplicate key"),
        (
            plain("") + "[dialect.ably]",
            "p:4:1: dialect.ably: is the name of a dialect in code; choose another name",
        ),
        (
            "[route]\nupstream = \"wss://h\"".into(),
            "p:1:1: route: expected [[route]], with two brackets, found a table",
        ),
        (
            "listen = 5\n".to_owned() + &plain(""),
            "p:1:10: listen: expected a table, [listen], found an integer",
        ),
        (plain("[lsten]"), "p:4:2: lsten: unknown key; did you mean \"listen\"?"),
        (
            plain("[route.session]\nrefresh_before = \"1s\""),
            "p:5:1: route.session.refresh_before: unknown key here; it belongs to [route.token]",
        ),
        (
            plain("[route.client]\nsecret = \"x\"\npath = \"/x\""),
            "p:6:1: route.client.path: unknown key here; it belongs to [[route]]",
        ),
        (
            plain("[admin]\nwombat = 1"),
            "p:5:1: admin.wombat: unknown key; known here are: address, hosts, rehearsal, rehearsal_secret",
        ),
        (
            plain("[admin]\nrehearsal_secret = { env = \"PERENNIAL_NOT_SET\" }"),
            "p:5:20: admin.rehearsal_secret: the environment variable PERENNIAL_NOT_SET is not set",
        ),
        (
            plain("[state]\nstore = \"dsk\"\npath = \"/x\""),
            "p:5:9: state.store: expected one of \"memory\", \"disk\", \"redis\"; did you mean \"disk\"?",
        ),
        (
            plain("[state]\npath = \"/x\""),
            "p:5:1: state.path: belongs to store = \"disk\", and this one is \"memory\"; change that, or remove this",
        ),
        (plain("[state]\nstore = \"disk\"\npath = \"\""), "p:6:8: state.path: must not be empty"),
        (
            plain("[state]\nstore = \"disk\"\nurl = \"redis://h\""),
            "p:6:1: state.url: belongs to store = \"redis\", and this one is \"disk\"; change that, or remove this",
        ),
    ]);
}

#[test]
fn of_a_store_in_redis() {
    let of =
        |lines: &str| plain(&format!("[state]\nstore = \"redis\"\nsecret = \"sixteen characters\"\n{lines}"));
    let url = |text: &str| of(&format!("url = \"{text}\""));
    let secret =
        |value: &str| plain(&format!("[state]\nstore = \"redis\"\nurl = \"redis://h\"\nsecret = {value}"));
    let missing = plain("[state]\nstore = \"redis\"\nurl = \"redis://h\"");
    let command = "[[route]]\nupstream = \"wss://h\"\ndialect = \"ably\"\n[route.token]\nsource = \"exec\"\ncommand = [\"a\"]\n\
                   [state]\nstore = \"redis\"\nurl = \"redis://h\"\nsecret = \"sixteen characters\"";
    check(&[
        (
            missing,
            "p:4:1: state.secret: missing; add secret = { file = \"PATH\" }, the same for all sidecars; `openssl rand -base64 32` makes one",
        ),
        (
            secret("[\"sixteen characters\", \"CANARY\"]"),
            "p:7:10: state.secret: must have 16 characters or more; `openssl rand -base64 32` makes one",
        ),
        (
            secret("[\"sixteen characters\", \"sixteen characterz\", \"sixteen charactery\"]"),
            "p:7:10: state.secret: takes two at the most: the new one, and the one before it",
        ),
        (
            command.to_owned(),
            "p:1:1: route.name: missing; add name = \"NAME\": sidecars on one Redis share the token of a command by its route's name",
        ),
        (of(""), "p:4:1: state.url: missing; add url = { file = \"PATH\" } or \"redis://…\""),
        (
            of("url = \"redis://h\"\npath = \"/x\""),
            "p:8:1: state.path: belongs to store = \"disk\", and this one is \"redis\"; change that, or remove this",
        ),
        (
            plain("[state]\nprefix = \"a\""),
            "p:5:1: state.prefix: belongs to store = \"redis\", and this one is \"memory\"; change that, or remove this",
        ),
        (
            url("CANARY"),
            "p:7:7: state.url: expected a URL such as redis://user:password@host:6379/0, rediss:// for TLS, unix:///PATH for a Unix socket, or redis+sentinel://host1:26379,host2:26379/MASTER/0",
        ),
        (url("unix:///s?CANARY=1"), "p:7:7: state.url: the options of a Unix socket are db, user and pass"),
        (
            url("redis+sentinel://h1,h2?CANARY=1"),
            "p:7:7: state.url: expected the sentinels' name of the primary after the hosts, as in redis+sentinel://host1:26379,host2:26379/mymaster",
        ),
        (
            url("redis+sentinel://h1,h2/m?CANARY=1"),
            "p:7:7: state.url: the options of sentinels are sentinel_user and sentinel_pass",
        ),
        (url("redis://h?CANARY=1"), "p:7:7: state.url: the URL has no options: remove \"?…\""),
        (
            url("redis://h/CANARY"),
            "p:7:7: state.url: expected the number of a database, as in redis://host/0 or unix:///PATH?db=0",
        ),
        (
            url("redis://CANARY@h"),
            "p:7:7: state.url: has a user without a password: add the password, or remove the user",
        ),
        (
            of("url = \"redis://h\"\nprefix = \"{a}\""),
            "p:8:10: state.prefix: expected 1 to 64 of A-Z, a-z, 0-9, _, -, . and :, with which all keys begin",
        ),
        (
            of("url = \"redis://h\"\ntimeout = \"3s\""),
            "p:8:11: state.timeout: must be at most \"2s\": a lease is renewed that often",
        ),
        (
            of("url = \"redis://h\"\n[state.tls]\nserver_name = \"a\""),
            "p:8:1: state.tls: has no effect: the URL is not rediss:// or rediss+sentinel://; change it, or remove this table",
        ),
        (
            of("url = \"rediss://h\"\n[state.tls]\nkey = \"Cargo.toml\""),
            "p:9:7: state.tls.key: needs certificate beside it; add certificate = \"PATH\"",
        ),
    ]);
}

#[test]
fn of_the_listener() {
    check(&[
        (
            plain("[listen]\naddress = \"localhost:80\""),
            "p:5:11: listen.address: expected an IP address and a port, such as \"127.0.0.1:7370\", or \"unix:/run/perennial.sock\"; write 127.0.0.1 for localhost",
        ),
        (
            plain("[listen]\naddress = \":80\""),
            "p:5:11: listen.address: expected an IP address and a port, such as \"127.0.0.1:7370\", or \"unix:/run/perennial.sock\"; write 0.0.0.0 for all interfaces",
        ),
        (
            plain("[listen]\naddress = 80"),
            "p:5:11: listen.address: expected an IP address and a port, such as \"127.0.0.1:7370\", or \"unix:/run/perennial.sock\", found an integer",
        ),
        (
            plain("[listen]\naddress = \"0.0.0.0:80\""),
            "p:5:11: listen.address: reachable from other machines, and route \"route1\" lets anyone in: set its secret in [route.client], or client_ca in [listen], or say open = true in [listen]",
        ),
        (plain("[listen]\nopen = 1"), "p:5:8: listen.open: expected true or false, found an integer"),
        (
            plain("[listen]\ncertificate = \"Cargo.toml\""),
            "p:5:15: listen.certificate: needs key beside it; add key = \"PATH\"",
        ),
        (
            plain("[listen]\nclient_ca = \"/nonexistent\""),
            "p:5:13: listen.client_ca: needs certificate beside it; add certificate = \"PATH\"\np:5:13: listen.client_ca: the file /nonexistent cannot be read: entity not found",
        ),
        (
            plain("[limits]\nmessage = \"1MB\""),
            "p:5:11: limits.message: expected a size such as \"64KiB\" or \"1MiB\"; units are B, KiB, MiB, GiB",
        ),
        (plain("[limits]\nmessage = \"0B\""), "p:5:11: limits.message: must be more than zero"),
        (plain("[limits]\nmessage = \"2GiB\""), "p:5:11: limits.message: must be at most \"1GiB\""),
        (plain("[limits]\nhistory = \"63KiB\""), "p:5:11: limits.history: must be at least \"64KiB\""),
        (plain("[limits]\nhandshake = \"0s\""), "p:5:13: limits.handshake: must be longer than zero"),
        (plain("[limits]\nhandshake = \"9999d\""), "p:5:13: limits.handshake: must be at most \"3660d\""),
        (
            plain("[limits]\nhandshake = \"10 seconds\""),
            "p:5:13: limits.handshake: expected a duration such as \"30s\", \"2h30m\" or \"250ms\"; units are d, h, m, s, ms",
        ),
    ]);
}

#[test]
fn of_a_route() {
    let second = |lines: &str| plain("") + "[[route]]\nupstream = \"wss://h\"\ndialect = \"none\"\n" + lines;
    check(&[
        (
            plain("name = \"a b\""),
            "p:4:8: route.name: expected 1 to 64 of A-Z, a-z, 0-9, _ and -: it labels metrics and logs",
        ),
        (
            plain("path = \"/a?b\""),
            "p:4:8: route.path: expected a path that begins with \"/\", without query, fragment or spaces",
        ),
        (second(""), "p:4:1: route.path: another route has the path \"/\" already; give each its own"),
        (
            second("path = \"/b\"\nname = \"route1\""),
            "p:8:8: route.name: another route has the name \"route1\" already; give each its own",
        ),
        (
            "[[route]]\nupstream = \"https://h\"\ndialect = \"none\"".into(),
            "p:2:12: route.upstream: expected a URL that begins with wss:// or ws://",
        ),
        (
            "[[route]]\nupstream = \"h:80\"\ndialect = \"none\"".into(),
            "p:2:12: route.upstream: expected a URL that begins with wss:// or ws://",
        ),
        (
            "[[route]]\nupstream = \"wss://\"\ndialect = \"none\"".into(),
            "p:2:12: route.upstream: expected a URL that begins with wss:// or ws://: empty host",
        ),
        (
            "[[route]]\nupstream = \"wss://a:b@h\"\ndialect = \"none\"".into(),
            "p:2:12: route.upstream: a URL is shown in logs: take the user and the password out of it",
        ),
        (
            "[[route]]\nupstream = \"wss://h?a=b\"\ndialect = \"none\"".into(),
            "p:2:12: route.upstream: the query is the client's own; remove \"?…\"",
        ),
        (
            "[[route]]\nupstream = \"wss://h#a\"\ndialect = \"none\"".into(),
            "p:2:12: route.upstream: a fragment (\"#…\") is never sent; remove it",
        ),
        (
            "[[route]]\nupstream = \"wss://h/{token}\"\ndialect = \"none\"".into(),
            "p:2:12: route.upstream: a name has no value in this URL; write it out",
        ),
        (
            "[[route]]\nupstream = \"wss://h\"\ndialect = \"abyl\"".into(),
            "p:3:11: route.dialect: there is no such dialect; did you mean \"ably\"?",
        ),
        (
            "[[route]]\nupstream = \"wss://h\"\ndialect = \"handshake\"".into(),
            "p:3:11: route.dialect: \"handshake\" needs a token; add [route.token] with source = \"http\" and url = \"https://…\", or write \"none\" for a plain proxy",
        ),
        (
            "[[route]]\nupstream = \"wss://h\"\ndialect = \"ably\"".into(),
            "p:3:11: route.dialect: \"ably\" needs a token; add [route.token] with source = \"ably-key\" and key = { env = \"ABLY_KEY\" }, or with source = \"http\" and url = \"https://…\"",
        ),
        (
            plain("[route.token]\nsource = \"static\"\ntoken = \"x\""),
            "p:3:11: route.dialect: it is not said where the token goes; add [route.handshake] with query = \"token\" or header = \"Authorization: Bearer {token}\", or token in [route.client] where clients show their own",
        ),
        (
            plain("[route.handshake]\nquery = \"t\""),
            "p:4:1: route.handshake: there is no token to place; add [route.token], or remove this table",
        ),
        (
            token("source = \"static\"\ntoken = \"x\"\n[route.handshake]\nquery = \"t\""),
            "p:7:1: route.handshake: \"ably\" puts the token where the service takes it; remove this table",
        ),
    ]);
}

#[test]
fn of_the_tables_of_a_route() {
    check(&[
        (
            "[[route]]\nupstream = \"ws://h\"\ndialect = \"none\"\n[route.tls]\nserver_name = \"a\"".into(),
            "p:4:1: route.tls: has no effect: the URL is not wss:// or https://; change it, or remove this table",
        ),
        (
            "[[route]]\nupstream = \"wss://h\"\ndialect = \"none\"\n[route.http]\ntimeout = \"0s\"\nheader = \"A: {token}\"".into(),
            "p:4:1: route.http.upstream: missing; add upstream = \"https://…\"\np:5:11: route.http.timeout: must be longer than zero\np:6:10: route.http.header: there is no token to place; add [route.token], or remove this key",
        ),
        (
            plain("[route.http]\nupstream = \"wss://h\""),
            "p:5:12: route.http.upstream: expected a URL that begins with https:// or http://",
        ),
        (
            plain("[route.http]\nupstream = \"https://h?a=b\""),
            "p:5:12: route.http.upstream: the query is the client's own; remove \"?…\"",
        ),
        (
            plain("[route.http]\nupstream = \"http://h\"\n[route.http.tls]\nserver_name = \"a\""),
            "p:6:1: route.http.tls: has no effect: the URL is not wss:// or https://; change it, or remove this table",
        ),
        (plain("[route.http]\nupstraem = \"http://h\""), "p:4:1: route.http.upstream: missing; add upstream = \"https://…\"\np:5:1: route.http.upstraem: unknown key; did you mean \"upstream\"?"),
        (
            plain("[route.tls]\nserver_name = \"a b\""),
            "p:5:15: route.tls.server_name: expected the name of a host, such as \"example.com\"",
        ),
        (
            plain("[route.tls]\nkey = \"Cargo.toml\""),
            "p:5:7: route.tls.key: needs certificate beside it; add certificate = \"PATH\"",
        ),
        (
            plain("[route.client]\ntoken = {}\ngrace = \"5m\"\nrevoke_for = \"1h\""),
            "p:5:9: route.client.token: has no effect: this route has no token of its own to put there; add [route.token]\np:5:9: route.client.token: says nothing; add query, subprotocol, header or cookie\np:6:9: route.client.grace: has no effect: only with share = \"client\" in [route.token] and a token here are tokens of clients remembered; add them, or remove this\np:7:14: route.client.revoke_for: has no effect: only with share = \"client\" in [route.token] and a token here are tokens of clients remembered; add them, or remove this",
        ),
        (
            plain("[route.client]\norigins = [\"*\"]"),
            "p:5:11: route.client.origins: expected an array of origins, such as [\"https://app.example.com\"]: scheme://host or scheme://host:port, no path",
        ),
        (
            plain("[route.session]\npark = \"0s\"\noverlap = \"keep\""),
            "p:5:8: route.session.park: has no effect: this dialect replaces no connection for a new token; remove it\np:6:11: route.session.overlap: has no effect: this dialect replaces no connection for a new token; remove it",
        ),
    ]);
}

#[test]
fn of_a_handshake() {
    let of = |lines: &str| {
        plain(&format!("token = {{ source = \"static\", token = \"x\" }}\n[route.handshake]\n{lines}"))
    };
    check(&[
        (of(""), "p:5:1: route.handshake: says nothing; add query, header, subprotocol or cookie"),
        (
            of("query = \"a&b\""),
            "p:6:9: route.handshake.query: expected the name of a parameter, such as \"token\"",
        ),
        (
            of("cookie = \"a;b\""),
            "p:6:10: route.handshake.cookie: expected a name, without spaces or separators",
        ),
        (
            of("header = \"Authorization\""),
            "p:6:10: route.handshake.header: expected a header such as \"Authorization: Bearer {token}\"",
        ),
        (
            of("header = \"Authorization: Bearer {tokn}\""),
            "p:6:10: route.handshake.header: {tokn} is no name; did you mean {token}?",
        ),
        (
            of("header = \"Authorization: Bearer {token|base64ulr}\""),
            "p:6:10: route.handshake.header: {token|base64ulr} is no name; did you mean {token|base64url}?",
        ),
        (
            of("path = \"v1/{token}\""),
            "p:6:8: route.handshake.path: expected a path such as \"/v1/{token}/stream\", without query, fragment or spaces",
        ),
        (
            of("header = \"A: b\""),
            "p:6:10: route.handshake.header: must say where the token goes: write {token}",
        ),
        (of("header = \"A b: {token}\""), "p:6:10: route.handshake.header: expected the name of a header"),
        (
            of("header = \"A: {token}\\n{token}\""),
            "p:6:10: route.handshake.header: a header cannot hold line breaks or control characters",
        ),
        (
            of("header = \"Host: {token}\""),
            "p:6:10: route.handshake.header: the header host belongs to the connection and is set by Perennial",
        ),
        (
            of("header = \"A: {client.token}\""),
            "p:6:10: route.handshake.header: {client.token} has no value: say in [route.client] where a client's token is",
        ),
        (
            of("subprotocol = \"a, {token}\""),
            "p:6:15: route.handshake.subprotocol: a subprotocol has no spaces or separators",
        ),
        (
            of("query = \"t\"\ngreeting = {}"),
            "p:7:12: route.handshake.greeting: expected members of a JSON object, such as { type = \"reconnected\" }\np:7:12: route.handshake.greeting: has no effect: only with dialect = \"handshake\"; remove it",
        ),
    ]);
}

#[test]
fn of_a_token() {
    let key = |lines: &str| token(&format!("source = \"ably-key\"\nkey = \"a.b:c\"\n{lines}"));
    let of_handshake = |lines: &str| {
        format!("[[route]]\nupstream = \"wss://h\"\ndialect = \"handshake\"\n[route.token]\nsource = \"file\"\n[route.handshake]\n{lines}")
            .replace("source = \"file\"", "source = \"file\"\npath = \"/t\"")
    };
    check(&[
        (
            token(""),
            "p:4:1: route.token.source: missing; add source = \"http\", \"oauth2\", \"jwt\", \"ably-key\", \"static\", \"file\" or \"exec\"",
        ),
        (
            token("source = \"vault\""),
            "p:5:10: route.token.source: expected one of \"http\", \"oauth2\", \"ably-key\", \"static\", \"file\", \"exec\", \"jwt\"",
        ),
        (
            key("share = \"client\""),
            "p:4:1: route.token.share: \"client\" needs to know whose a token is; add identity here, such as \"{query.clientId}\", or token = { query = \"token\" } in [route.client]",
        ),
        (
            of_handshake("subprotocol = \"h-{json|base64url}\""),
            "p:7:1: route.handshake.json: missing; add json = { Authorization = \"{token}\" }, which {json} stands for",
        ),
        (
            of_handshake("query = \"t\"\njson = { a = \"{token}\" }"),
            "p:9:8: route.handshake.json: has no effect: nothing names it; write {json|base64url} in subprotocol or header",
        ),
        (
            of_handshake("subprotocol = \"h-{json|base64url}\"\njson = { a = \"b\" }"),
            "p:9:8: route.handshake.json: must say where the token goes: write {token}",
        ),
        (
            key("use = \"once\"\nshare = \"route\""),
            "p:7:7: route.token.use: an Ably connection is re-authenticated with new tokens; write \"many\"\np:8:9: route.token.share: has no effect with use = \"once\": each handshake has a token of its own; remove this",
        ),
        (
            key("identity = \"x\""),
            "p:7:12: route.token.identity: names nothing of the request; write {query.NAME}, {header.NAME} or {client.token}",
        ),
        (
            key("refresh_befor = \"1s\""),
            "p:7:1: route.token.refresh_befor: unknown key; did you mean \"refresh_before\"?",
        ),
        (
            key("refresh_before = \"1h\""),
            "p:7:18: route.token.refresh_before: must be shorter than ttl, or the token is due as soon as it is there",
        ),
        (
            key("ttl = \"25h\""),
            "p:7:7: route.token.ttl: must be at most \"24h\", the longest that Ably takes",
        ),
        (
            key("lifetime = \"1h\""),
            "p:7:12: route.token.lifetime: the token is signed here and lives for its ttl; write ttl in place of lifetime",
        ),
        (
            key("url = \"https://h\""),
            "p:7:1: route.token.url: belongs to source = \"http\", and this one is \"ably-key\"; change that, or remove this",
        ),
        (
            key("capability = \"*\""),
            "p:7:14: route.token.capability: expected JSON such as '{\"*\":[\"*\"]}', operations by channel",
        ),
        (
            key("capability = { a = [] }"),
            "p:7:14: route.token.capability: expected JSON such as '{\"*\":[\"*\"]}', operations by channel",
        ),
        (
            key("client_id = \"{query.clientId}\""),
            "p:7:13: route.token.client_id: a name in braces is not filled in here; write it out",
        ),
        (token("source = \"ably-key\""), "p:4:1: route.token.key: missing; add key = { env = \"ABLY_KEY\" }"),
        (
            token("source = \"ably-key\"\nkey = \"CANARY\""),
            "p:6:7: route.token.key: expected a key of the form appId.keyId:secret",
        ),
        (
            token("source = \"file\"\npath = \"/x\"\nrefresh_before = \"2m\"\nlifetime = \"1m\""),
            "p:7:18: route.token.refresh_before: must be shorter than lifetime, or the token is due as soon as it is there",
        ),
    ]);
}

#[test]
fn of_a_secret() {
    check(&[
        (token("source = \"static\"\ntoken = \"\""), "p:6:9: route.token.token: the secret is empty"),
        (
            token("source = \"static\"\ntoken = { env = \"PERENNIAL_NOT_SET\" }"),
            "p:6:9: route.token.token: the environment variable PERENNIAL_NOT_SET is not set",
        ),
        (
            token("source = \"static\"\ntoken = { env = \"CANARY=\" }"),
            "p:6:9: route.token.token: env takes the name of a variable, not its value",
        ),
        (
            token("source = \"static\"\ntoken = { file = \"/nonexistent\" }"),
            "p:6:9: route.token.token: the file /nonexistent cannot be read: entity not found",
        ),
        (
            token("source = \"static\"\ntoken = { fil = \"/x\" }"),
            "p:6:9: route.token.token: expected a string, { env = \"NAME\" } or { file = \"PATH\" }; did you mean \"file\"?",
        ),
        (
            token("source = \"static\"\ntoken = 5"),
            "p:6:9: route.token.token: expected a string, { env = \"NAME\" } or { file = \"PATH\" }, found an integer",
        ),
    ]);
}

#[test]
fn of_a_command() {
    let exec = |lines: &str| token(&format!("source = \"exec\"\n{lines}"));
    let with = |lines: &str| exec(&format!("command = [\"true\"]\n{lines}"));
    check(&[
        (exec(""), "p:4:1: route.token.command: missing; add command = [\"program\", \"argument\"]"),
        (
            exec("command = \"gcloud auth\""),
            "p:6:11: route.token.command: expected an array, such as [\"program\", \"argument\"], found a string; there is no shell that would take it apart",
        ),
        (
            exec("command = []"),
            "p:6:11: route.token.command: names no program; write [\"program\", \"argument\"]",
        ),
        (
            exec("command = [\"\"]"),
            "p:6:11: route.token.command: names no program; write [\"program\", \"argument\"]",
        ),
        (
            exec("command = [\"a\", 5]"),
            "p:6:11: route.token.command: expected strings only, found an integer",
        ),
        (
            exec("command = [\"a\", { env = \"CANARY\" }]"),
            "p:6:11: route.token.command: a secret cannot stand in an argument: process lists show it to everybody; put it in env, where the command finds it in its environment",
        ),
        (exec("command = [\"a\\u0000\"]"), "p:6:11: route.token.command: an argument cannot hold a NUL"),
        (
            with("env = \"A=b\""),
            "p:7:7: route.token.env: expected a table, such as env = { name = \"value\" }, found a string",
        ),
        (
            with("env = { \"A=b\" = \"CANARY\" }"),
            "p:7:7: route.token.env: expected the name of a variable: A-Z, a-z, 0-9 and _",
        ),
        (
            with("env = { A = { env = \"PERENNIAL_NOT_SET\" } }"),
            "p:7:7: route.token.env: \"A\": the environment variable PERENNIAL_NOT_SET is not set",
        ),
        (with("directory = \"\""), "p:7:13: route.token.directory: must not be empty"),
        (
            with("path = \"/x\""),
            "p:7:1: route.token.path: belongs to source = \"file\", and this one is \"exec\"; change that, or remove this",
        ),
        (
            with("share = \"client\"\nidentity = \"{query.id}\""),
            "p:4:1: route.token.share: \"client\" needs a source that can tell clients apart: \"http\", \"oauth2\" or \"ably-key\"",
        ),
    ]);
}

#[test]
fn of_an_http_source() {
    check(&[
        (token("source = \"http\""), "p:4:1: route.token.url: missing; add url = \"https://…\""),
        (
            token("source = \"http\"\nurl = \"wss://h\""),
            "p:6:7: route.token.url: expected a URL that begins with https:// or http://",
        ),
        (
            token("source = \"http\"\nurl = \"https://h/{query.id}\""),
            "p:6:7: route.token.url: {query.id} has no value: the token is the route's; add share = \"client\"",
        ),
        (
            http("form = {}\njson = {}"),
            "p:7:8: route.token.form: a request has one body: keep one of json, form and body",
        ),
        (
            http("json = 5"),
            "p:7:8: route.token.json: expected a table, such as json = { name = \"value\" }, found an integer",
        ),
        (http("json = { a = inf }"), "p:7:8: route.token.json: JSON knows no infinity and no nan"),
        (
            http("method = \"GET\"\nbody = \"x\""),
            "p:7:10: route.token.method: a GET has no body; write \"POST\", or remove the body",
        ),
        (
            http("method = \"post\""),
            "p:7:10: route.token.method: expected one of \"GET\", \"POST\", \"PUT\", \"PATCH\"; did you mean \"POST\"?",
        ),
        (http("headers = { \"a b\" = \"x\" }"), "p:7:11: route.token.headers: expected the name of a header"),
        (
            http("headers = { a = \"CANARY\\n\" }"),
            "p:7:11: route.token.headers: \"a\": a header cannot hold line breaks or control characters",
        ),
        (
            http("form = { a = \"{query.id}\" }"),
            "p:7:8: route.token.form: \"a\": {query.id} has no value: the token is the route's; add share = \"client\"",
        ),
        (
            http("body = \"{token}\""),
            "p:7:8: route.token.body: names a value, and only the Content-Type says how to escape it: set it in headers to application/json, application/x-www-form-urlencoded or text/plain",
        ),
        (
            http("answer = \"jason\""),
            "p:7:10: route.token.answer: expected \"auto\", \"text\" or { token = \"/path/to/it\", expires_in = \"/path/to/it\" }",
        ),
        (
            http("answer = { tokn = \"/a\" }"),
            "p:7:10: route.token.answer: expected \"auto\", \"text\" or { token = \"/path/to/it\", expires_in = \"/path/to/it\" }; did you mean \"token\"?",
        ),
        (
            http("answer = { expires_in = \"/a\" }"),
            "p:7:10: route.token.answer: must say where the token is: add token = \"/path/to/it\"",
        ),
        (
            http("answer = { token = \"a.b\" }"),
            "p:7:10: route.token.answer: expected a JSON Pointer such as \"/auth/token\", or a header such as \"header:X-Token\"",
        ),
        (
            token("source = \"file\"\npath = \"/x\"\nanswer = { token = \"header:X-Token\" }"),
            "p:7:10: route.token.answer: only an answer over HTTP has headers; write a JSON Pointer such as \"/token\"",
        ),
        (
            http("headers = { content-type = \"application/json\" }\nbody = '{\"a\":{token}}'"),
            "p:8:8: route.token.body: expected JSON in which each name stands inside a string",
        ),
    ]);
}
