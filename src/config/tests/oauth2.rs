//! `source = "oauth2"`: what is understood, what is shown of it, and what is refused and how.

use rcgen::{KeyPair, PKCS_ED25519};

use super::*;

/// A route whose `[route.token]` goes on with these lines, from line 5 on.
fn route(lines: &str) -> String {
    format!("[[route]]\nupstream = \"wss://h\"\ndialect = \"ably\"\n[route.token]\n{lines}\n")
}

/// As above, with the source and a token endpoint; the lines are from line 7 on.
fn with(lines: &str) -> String {
    route(&format!("source = \"oauth2\"\ntoken_url = \"https://auth.test/token\"\n{lines}"))
}

fn of(text: &str) -> OAuth2Source {
    let config = parse(text);
    let token = config.routes[0].token.as_ref().unwrap();
    let SourceConfig::OAuth2(source) = &token.source else { panic!("{token:?}") };
    OAuth2Source::clone(source)
}

/// A directory with a private key in it, and the value that names it.
fn key() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key.pem");
    std::fs::write(&path, KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem()).unwrap();
    let value = format!("{{ file = '{}' }}", path.display());
    (dir, value)
}

fn texts(templates: &[Template]) -> Vec<String> {
    templates.iter().map(|template| template.shown(false)).collect()
}

#[test]
fn client_credentials_are_the_usual_grant_and_basic_the_usual_proof() {
    let text = with(
        "client_id = \"me\"\nclient_secret = { env = \"CARGO_PKG_NAME\" }\nscope = [\"a b\", \"c\"]\naudience = \"x\"\n\
         resource = [\"https://a/\", \"https://b/\"]\nparameters = { tenant = \"t\", pin = { env = \"CARGO_PKG_NAME\" } }",
    );
    let source = of(&text);
    assert!(matches!(source.grant, Grant::ClientCredentials));
    assert!(matches!(source.client_auth, ClientAuth::Basic(_)));
    assert_eq!(source.client_id.as_deref(), Some("me"));
    assert_eq!(texts(&source.scope), ["a b", "c"]);
    assert_eq!(texts(&source.audience), ["x"]);
    assert_eq!(texts(&source.resource), ["https://a/", "https://b/"]);
    assert_eq!(source.parameters.len(), 2);
    let AuthorizationServer::TokenUrl(address) = &source.server else { panic!("{source:?}") };
    assert_eq!((address.text.as_str(), address.endpoint.port), ("https://auth.test/token", 443));
    again(&text.replace("tenant = \"t\", ", ""));
}

#[test]
fn the_proof_follows_from_what_is_there() {
    let (_dir, key) = key();
    let word = |lines: &str| of(&with(lines)).client_auth.word();
    let id = "client_id = \"me\"\n";
    let secret = "client_secret = \"x\"\n";
    assert_eq!(word(id), "none");
    assert_eq!(word(&format!("{id}{secret}")), "basic");
    assert_eq!(word(&format!("{id}{secret}client_auth = \"post\"")), "post");
    assert_eq!(word(&format!("{id}private_key = {key}")), "private_key_jwt");
    let signed = format!("grant = \"jwt_bearer\"\nsubject = \"s\"\nprivate_key = {key}\n");
    assert_eq!(word(&format!("{id}{signed}")), "none", "it signs the grant");
    assert_eq!(word(&format!("{id}{signed}client_auth = \"private_key_jwt\"")), "private_key_jwt", "both");
    let kept = format!("{id}grant = \"jwt_bearer\"\nassertion = \"x\"\nprivate_key = {key}");
    assert_eq!(word(&kept), "private_key_jwt");
}

#[test]
fn a_refresh_token_and_an_issuer_are_understood() {
    let text = route(
        "source = \"oauth2\"\nissuer = \"https://auth.test/realms/a\"\ngrant = \"refresh_token\"\nclient_id = \"me\"\n\
         refresh_token = { env = \"CARGO_PKG_NAME\" }\n[route.token.tls]\nserver_name = \"inside\"",
    );
    let source = of(&text);
    let AuthorizationServer::Issuer(issuer) = &source.server else { panic!("{source:?}") };
    assert_eq!(issuer.text, "https://auth.test/realms/a");
    let Grant::RefreshToken(token) = &source.grant else { panic!("{source:?}") };
    assert_eq!(&*token.reveal().unwrap(), "perennial");
    assert_eq!(source.tls.server_name.as_deref(), Some("inside"));
    again(&text);
}

#[test]
fn an_exchange_is_understood_for_each_client() {
    let text = route(
        "source = \"oauth2\"\ntoken_url = \"https://h/t\"\ngrant = \"token_exchange\"\nshare = \"client\"\n\
         subject_token = \"{client.token}\"\nsubject_token_type = \"jwt\"\nrequested_token_type = \"urn:x:y\"\n\
         actor_token = { env = \"CARGO_PKG_NAME\" }\naudience = \"{query.for}\"\nscope = \"read:{header.X-Id}\"\n\
         [route.client]\ntoken = { query = \"token\" }\n[route.handshake]\nquery = \"t\"",
    )
    .replace("\"ably\"", "\"handshake\"");
    let source = of(&text);
    let names: Vec<_> = source.templates().flat_map(Template::names).map(ToString::to_string).collect();
    assert_eq!(names, ["{client.token}", "{header.x-id}", "{query.for}"]);
    let Grant::TokenExchange(exchange) = &source.grant else { panic!("{source:?}") };
    assert_eq!(exchange.subject_token_type, "urn:ietf:params:oauth:token-type:jwt");
    assert_eq!(exchange.requested_token_type.as_deref(), Some("urn:x:y"));
    let (_, kind) = exchange.actor_token.as_ref().unwrap();
    assert_eq!(kind, "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!((source.client_id.as_deref(), source.client_auth.word()), (None, "none"));
    again(&text);
}

#[test]
fn an_assertion_is_kept_or_signed() {
    let (_dir, key) = key();
    let signed = with(&format!(
        "grant = \"jwt_bearer\"\nclient_id = \"me\"\nsubject = \"s\"\nprivate_key = {key}\nkey_id = \"k\"\n\
         algorithm = \"EdDSA\"\nassertion_audience = \"aud\"\nclient_auth = \"private_key_jwt\""
    ));
    let source = of(&signed);
    let Grant::SignedAssertion(assertion) = &source.grant else { panic!("{source:?}") };
    assert_eq!((assertion.issuer.as_str(), assertion.subject.as_str()), ("me", "s"));
    let signer = &assertion.signer;
    assert_eq!((signer.key_id.as_deref(), signer.audience.as_deref()), (Some("k"), Some("aud")));
    assert_eq!(signer.key.algorithm, Some(Algorithm::EdDsa));
    again(&signed);
    let named = with(&format!(
        "grant = \"jwt_bearer\"\nassertion_issuer = \"i\"\nsubject = \"s\"\nprivate_key = {key}"
    ));
    assert!(matches!(&of(&named).grant, Grant::SignedAssertion(assertion) if assertion.issuer == "i"));
    let kept = with("grant = \"jwt_bearer\"\nassertion = { env = \"CARGO_PKG_NAME\" }");
    assert!(matches!(of(&kept).grant, Grant::Assertion(_)));
    again(&kept);
}

#[test]
fn no_secret_of_it_is_shown() {
    let pem = KeyPair::generate_for(&PKCS_ED25519).unwrap().serialize_pem();
    let inner = pem.lines().nth(1).unwrap();
    for lines in [
        "client_id = \"me\"\nclient_secret = \"CANARY\"\nparameters = { a = \"CANARY\" }".to_owned(),
        "client_id = \"me\"\ngrant = \"refresh_token\"\nrefresh_token = \"CANARY\"".to_owned(),
        "grant = \"jwt_bearer\"\nassertion = \"CANARY\"".to_owned(),
        "grant = \"token_exchange\"\nsubject_token = \"CANARY\"\nactor_token = \"CANARY{token}\"".to_owned(),
        format!("client_id = \"me\"\nprivate_key = '''{pem}'''"),
        format!("client_id = \"me\"\ngrant = \"jwt_bearer\"\nsubject = \"s\"\nprivate_key = '''{pem}'''"),
    ] {
        let text = with(&lines).replace("/token\"", "/token?key=CANARY\"");
        let config = parse(&text);
        let printed = shown(&text);
        let said = format!("{printed}{config:#?}");
        assert!(!said.contains("CANARY") && !said.contains(inner), "{said}");
        toml::from_str::<toml::Table>(&printed).unwrap();
    }
}

/// Lines that are refused, and all that is said of them.
fn check(cases: &[(String, &str)]) {
    let wrong: Vec<String> = cases
        .iter()
        .map(|(text, want)| (refused(text), text, want))
        .filter(|(said, _, want)| said != *want)
        .map(|(said, text, want)| format!("--- {text}\nsaid: {said}\nwant: {want}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

const ME: &str = "client_id = \"me\"";

#[test]
fn what_is_missing_is_named() {
    let of = |lines: &str| with(lines);
    let place = |lines: &str| route(&format!("source = \"oauth2\"\n{ME}\n{lines}"));
    check(&[
        (
            place(""),
            "p:4:1: route.token.token_url: missing; add token_url = \"https://…\", or issuer = \"https://…\" to have it found",
        ),
        (
            place("token_url = \"https://h\"\nissuer = \"https://h\""),
            "p:8:10: route.token.issuer: issuer finds the endpoint, and token_url is one: keep one of the two",
        ),
        (
            of(""),
            "p:4:1: route.token.client_id: missing; add client_id = \"NAME\", as the server knows this client",
        ),
        (
            of(&format!("{ME}\nclient_auth = \"post\"")),
            "p:4:1: route.token.client_secret: missing; add client_secret = { env = \"NAME\" } or { file = \"PATH\" }",
        ),
        (
            of(&format!("{ME}\nclient_auth = \"private_key_jwt\"")),
            "p:4:1: route.token.private_key: missing; add private_key = { file = \"PATH\" }",
        ),
        (
            of(&format!("{ME}\ngrant = \"refresh_token\"")),
            "p:4:1: route.token.refresh_token: missing; add refresh_token = { file = \"PATH\" } or { env = \"NAME\" }",
        ),
        (
            of("grant = \"token_exchange\""),
            "p:4:1: route.token.subject_token: missing; add subject_token = \"{client.token}\" or { file = \"PATH\" }",
        ),
        (
            of(&format!("{ME}\ngrant = \"jwt_bearer\"\nsubject = \"s\"")),
            "p:4:1: route.token.private_key: missing; add assertion = { file = \"PATH\" }, or private_key = { file = \"PATH\" } to sign one here",
        ),
    ]);
    let (_dir, key) = key();
    check(&[
        (
            of(&format!("{ME}\ngrant = \"jwt_bearer\"\nprivate_key = {key}")),
            "p:4:1: route.token.subject: missing; add subject = \"NAME\", who the token is for",
        ),
        (
            of(&format!("grant = \"jwt_bearer\"\nsubject = \"s\"\nprivate_key = {key}")),
            "p:4:1: route.token.assertion_issuer: missing; add assertion_issuer = \"NAME\", or client_id, which it is else",
        ),
    ]);
}

#[test]
fn what_nothing_uses_is_refused() {
    let of = |lines: &str| with(&format!("{ME}\n{lines}"));
    let unsigned = "has no effect: nothing is signed here but with client_auth = \"private_key_jwt\", or with grant = \"jwt_bearer\" without assertion; remove it";
    check(&[
        (
            with(
                "client_id = \"me\"\nclient_auth = \"basic\"\nclient_secret = \"s\"\nclient_assertion = \"a\"",
            ),
            "p:10:20: route.token.client_assertion: has no effect with client_auth = \"basic\"; remove one of the two",
        ),
        (
            with("client_id = \"me\"\nclient_auth = \"client_assertion\""),
            "p:4:1: route.token.client_assertion: missing; add client_assertion = { file = \"PATH\" }",
        ),
        (
            of("client_auth = \"none\"\nclient_secret = \"x\""),
            "p:9:17: route.token.client_secret: has no effect: client_auth = \"none\" sends no secret; write \"basic\", or remove this",
        ),
        (of("key_id = \"x\""), &format!("p:8:10: route.token.key_id: {unsigned}")),
        (of("algorithm = \"RS256\""), &format!("p:8:13: route.token.algorithm: {unsigned}")),
        (of("assertion_audience = \"x\""), &format!("p:8:22: route.token.assertion_audience: {unsigned}")),
        (
            of("client_secret = \"x\"\nprivate_key = \"x\""),
            &format!("p:9:15: route.token.private_key: {unsigned}"),
        ),
        (
            of("refresh_token = \"x\""),
            "p:8:1: route.token.refresh_token: belongs to grant = \"refresh_token\", and this one is \"client_credentials\"; change that, or remove this",
        ),
        (
            of("grant = \"jwt_bearer\"\nassertion = \"x\"\nsubject_token = \"x\""),
            "p:10:1: route.token.subject_token: belongs to grant = \"token_exchange\", and this one is \"jwt_bearer\"; change that, or remove this",
        ),
        (
            of("assertion = \"x\""),
            "p:8:1: route.token.assertion: belongs to grant = \"jwt_bearer\", and this one is \"client_credentials\"; change that, or remove this",
        ),
        (
            of("grant = \"jwt_bearer\"\nassertion = \"x\"\nsubject = \"x\""),
            "p:10:11: route.token.subject: has no effect: assertion is signed by somebody else; remove one of the two",
        ),
        (
            of("grant = \"token_exchange\"\nsubject_token = \"x\"\nactor_token_type = \"jwt\""),
            "p:10:20: route.token.actor_token_type: needs actor_token beside it; add actor_token",
        ),
        (
            of("url = \"https://h\""),
            "p:8:1: route.token.url: belongs to source = \"http\", and this one is \"oauth2\"; change that, or remove this",
        ),
        (
            of("ttl = \"1h\""),
            "p:8:1: route.token.ttl: belongs to source = \"ably-key\" or \"jwt\", and this one is \"oauth2\"; change that, or remove this",
        ),
        (
            of("path = \"/x\""),
            "p:8:1: route.token.path: belongs to source = \"file\", and this one is \"oauth2\"; change that, or remove this",
        ),
        (
            route(&format!("source = \"file\"\npath = \"/x\"\n{ME}")),
            "p:7:1: route.token.client_id: belongs to source = \"oauth2\" or \"ably-key\", and this one is \"file\"; change that, or remove this",
        ),
    ]);
}

#[test]
fn what_is_wrong_is_said() {
    let of = |lines: &str| with(&format!("{ME}\n{lines}"));
    let place = |lines: &str| route(&format!("source = \"oauth2\"\n{lines}\n{ME}"));
    let (_dir, key) = key();
    check(&[
        (
            of("grant = \"client_credential\""),
            "p:8:9: route.token.grant: no grant is called so; did you mean \"client_credentials\"?",
        ),
        (
            of("client_auth = \"bsic\""),
            "p:8:15: route.token.client_auth: expected one of \"basic\", \"post\", \"private_key_jwt\", \"client_secret_jwt\", \"client_assertion\", \"none\"; did you mean \"basic\"?",
        ),
        (
            of(
                "grant = \"refresh_token\"\nrefresh_token = \"x\"\nshare = \"client\"\nidentity = \"{query.a}\"",
            ),
            "p:8:9: route.token.grant: is one for all, and share = \"client\" asks for one token for each client; write share = \"route\", or another grant",
        ),
        (
            place("token_url = \"ftp://h\""),
            "p:6:13: route.token.token_url: expected a URL that begins with https:// or http://",
        ),
        (
            place("token_url = \"https://a:CANARY@h\""),
            "p:6:13: route.token.token_url: a URL is shown in logs: take the user and the password out of it",
        ),
        (
            place("token_url = \"https://h/{query.a}\""),
            "p:6:13: route.token.token_url: a name cannot stand here: a client would choose where secrets go",
        ),
        (
            place("issuer = \"https://h/?a=b\""),
            "p:6:10: route.token.issuer: an issuer has no query; remove \"?…\"",
        ),
        (
            place("issuer = \"https://h/#a\""),
            "p:6:10: route.token.issuer: a fragment (\"#…\") is never sent; remove it",
        ),
        (
            of(&format!("private_key = {key}\nalgorithm = \"RS256\"")),
            "p:8:15: route.token.private_key: is Ed25519, which cannot sign RS256; write algorithm = \"EdDSA\"",
        ),
        (
            of("private_key = \"CANARY\""),
            "p:8:15: route.token.private_key: the secret holds no private key in PEM (-----BEGIN PRIVATE KEY-----)",
        ),
        (
            of("scope = \"a\\\\b\""),
            "p:8:9: route.token.scope: expected scopes with spaces between them: visible ASCII without \" and \\",
        ),
        (of("scope = []"), "p:8:9: route.token.scope: is an empty array; write a value, or remove it"),
        (of("audience = [5]"), "p:8:12: route.token.audience: expected a string, found an integer"),
        (
            of("resource = \"api\""),
            "p:8:12: route.token.resource: expected an absolute URI without a fragment, such as \"https://api.example.com\"",
        ),
        (
            of("audience = \"{query.a}\""),
            "p:8:12: route.token.audience: {query.a} has no value: the token is the route's; add share = \"client\"",
        ),
        (
            of("parameters = { grant_type = \"x\" }"),
            "p:8:14: route.token.parameters: \"grant_type\": is a field that Perennial sets itself; there is a key for it beside parameters",
        ),
        (
            of("grant = \"token_exchange\"\nsubject_token = \"x\"\nsubject_token_type = \"jvt\""),
            "p:10:22: route.token.subject_token_type: expected a type's URI, or a short word: access_token, refresh_token, id_token, jwt, saml1, saml2",
        ),
    ]);
}

/// Whatever stands in the place of a string, what is said of it does not have it.
#[test]
fn no_error_shows_what_was_written() {
    let lines = "source = \"oauth2\"\ntoken_url = \"https://h\"\ngrant = \"jwt_bearer\"\nclient_id = \"a\"\n\
                 client_auth = \"private_key_jwt\"\nprivate_key = \"a\"\nkey_id = \"a\"\nalgorithm = \"EdDSA\"\n\
                 assertion_audience = \"a\"\nassertion_issuer = \"a\"\nsubject = \"a\"\nclient_secret = \"a\"\n\
                 refresh_token = \"a\"\nsubject_token = \"a\"\nsubject_token_type = \"a\"\nactor_token_type = \"a\"\n\
                 scope = \"a\"\naudience = [\"a\"]\nresource = \"a\"\nparameters = { a = \"a\" }";
    let text = route(lines);
    let strings: Vec<_> = text.match_indices('"').map(|(at, _)| at).collect();
    for pair in strings.chunks(2) {
        for wrong in
            ["CANARY", "CANARY\\n", "{query.CANARY} \\\\ CANARY", "http://CANARY:CANARY@h", "wss://CANARY"]
        {
            let text = [&text[..=pair[0]], wrong, &text[pair[1]..]].concat();
            let errors = refused(&text).replace("{query.CANARY}", "");
            assert!(!errors.contains("CANARY"), "{text}\n{errors}");
        }
    }
}

#[test]
fn a_grant_may_have_any_name() {
    let text = with(
        "grant = \"password\"\nparameters = { username = \"me\", password = { env = \"CARGO_PKG_NAME\" } }",
    );
    let source = of(&text);
    assert_eq!((&source.grant, source.client_id.as_deref()), (&Grant::Other("password".to_owned()), None));
    again(&text);
    check(&[
        (
            with("grant = \"password\"\nrefresh_token = \"x\""),
            "p:8:1: route.token.refresh_token: belongs to grant = \"refresh_token\", and this one is another; change that, or remove this",
        ),
        (
            with(&format!("{ME}\nclient_secret = \"x\"\nheaders = {{ Authorization = \"x\" }}")),
            "p:9:11: route.token.headers: authorization is set by Perennial; remove it",
        ),
        (
            with(&format!("{ME}\nanswer = {{ token = \"/a\", refresh_token = \"/b\" }}")),
            "p:8:10: route.token.answer: refresh_token has no effect but with grant = \"refresh_token\"; remove it",
        ),
    ]);
}

#[test]
fn an_assertion_may_have_more_in_it() {
    let (_dir, key) = key();
    let text = with(&format!(
        "{ME}\nprivate_key = {key}\nclaims = {{ target_audience = \"https://a\" }}\nheader = {{ x5t = \"t\" }}\nassertion_lifetime = \"3m\""
    ));
    let ClientAuth::PrivateKeyJwt(signer) = of(&text).client_auth else { panic!() };
    assert_eq!(signer.lifetime, Duration::from_secs(180));
    assert_eq!(signer.claims.as_ref().unwrap().shown(false), "{\"target_audience\":\"https://a\"}");
    assert_eq!(signer.header["x5t"], "t");
    again(&text);
    check(&[
        (
            with(&format!("{ME}\nprivate_key = {key}\nclaims = {{ exp = 5 }}")),
            "p:9:10: route.token.claims: exp is set for each JWT; remove it",
        ),
        (
            with(&format!(
                "{ME}\nclient_auth = \"client_secret_jwt\"\nclient_secret = \"x\"\nalgorithm = \"RS256\""
            )),
            "p:9:17: route.token.client_secret: is a shared secret, which cannot sign RS256; write algorithm = \"HS256\"",
        ),
    ]);
}
