//! What the documentation shows of the configuration is configuration: each file and each block is accepted by the
//! reader, and by the JSON Schema through a validator of somebody else's.

use std::path::{Path, PathBuf};

use boon::{Compiler, SchemaIndex, Schemas};
use perennial::config::{Config, reference};

/// Behind which lines, and before which, a block is whole. A block of the documentation shows what it speaks of only.
const AROUND: [(&str, &str); 7] = [
    ("", ""),
    ("", "[[route]]\nupstream = \"wss://h\"\ndialect = \"none\"\n"),
    ("[[route]]\nupstream = \"wss://h\"\ndialect = \"none\"\n", ""),
    ("[[route]]\nupstream = \"wss://h\"\ndialect = \"ably\"\n", ""),
    (
        "[[route]]\nupstream = \"wss://h\"\ndialect = \"ably\"\n",
        "[route.token]\nsource = \"file\"\npath = \"/t\"\n",
    ),
    (
        "[[route]]\nupstream = \"wss://h\"\ndialect = \"handshake\"\n",
        "[route.token]\nsource = \"http\"\nurl = \"https://h\"\nshare = \"client\"\nidentity = \"{query.id}\"\n\
         [route.handshake]\nquery = \"token\"\n",
    ),
    (
        "[[route]]\nupstream = \"wss://h\"\ndialect = \"handshake\"\n",
        "[route.token]\nsource = \"http\"\nurl = \"https://h\"\nshare = \"client\"\nidentity = \"{query.id}\"\n\
         [route.client]\ntoken = { query = \"token\" }\n",
    ),
];

pub struct Judge {
    schemas: Schemas,
    index: SchemaIndex,
    /// Where the files are that examples name.
    files: tempfile::TempDir,
}

impl Judge {
    pub fn new() -> Self {
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("perennial.json", reference::schema()).unwrap();
        let index = compiler.compile("perennial.json", &mut schemas).unwrap();
        Self { schemas, index, files: tempfile::tempdir().unwrap() }
    }

    /// What is wrong with a whole configuration, by the reader and by the schema.
    fn wrong(&self, text: &str) -> Option<String> {
        if let Err(errors) = Config::parse(&self.with_secrets(text), "example") {
            return Some(errors.to_string());
        }
        self.refused_by_the_schema(text)
    }

    fn refused_by_the_schema(&self, text: &str) -> Option<String> {
        let json = serde_json::to_value(toml::from_str::<toml::Table>(text).unwrap()).unwrap();
        self.schemas.validate(&json, self.index).err().map(|error| format!("by the schema: {error:#}"))
    }

    /// The same with variables and files that are here.
    pub fn with_secrets(&self, text: &str) -> String {
        let mut parts = text.split("{ env = \"");
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            text.push_str("\"app.key:secret\"");
            text.push_str(part.split_once("\" }").unwrap().1);
        }
        for path in ["/run/", "/etc/", "/var/run/"] {
            while let Some(at) = text.find(&format!("\"{path}")) {
                let length = text[at + 1..].find('"').unwrap() + 1;
                let here = self.file(&text[at + 1..at + length]);
                text.replace_range(at + 1..at + length, &here.display().to_string());
            }
        }
        text
    }

    fn file(&self, name: &str) -> PathBuf {
        let here = self.files.path().join(name.replace('/', "-"));
        let text = match name {
            name if name.ends_with(".pem") => rcgen::KeyPair::generate().unwrap().serialize_pem(),
            name if name.ends_with(".crt") => {
                rcgen::generate_simple_self_signed(vec!["h".to_owned()]).unwrap().cert.pem()
            }
            name if name.contains("redis") => "redis://h".to_owned(),
            name if name.contains("proxy") => "http://h:3128".to_owned(),
            name if name.contains("state") => "sixteen characters".to_owned(),
            _ => "app.key:secret".to_owned(),
        };
        std::fs::write(&here, text).unwrap();
        here
    }

    /// What is wrong with a block, in whatever surrounds it is whole with.
    fn wrong_block(&self, block: &str) -> Option<String> {
        let whole = AROUND.iter().map(|(before, behind)| format!("{before}{block}{behind}"));
        let verdicts: Vec<_> = whole.map(|text| toml::from_str::<toml::Table>(&text).map(|_| text)).collect();
        let wrongs: Vec<_> = verdicts
            .into_iter()
            .map(|text| text.map_or_else(|error| Some(error.to_string()), |text| self.wrong(&text)))
            .collect();
        if wrongs.iter().any(Option::is_none) {
            None
        } else {
            wrongs.into_iter().flatten().min_by_key(String::len)
        }
    }
}

/// All files below a folder of the repository with one of these endings.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(root).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(files(&format!("{folder}/{name}"), ending));
        } else if name.ends_with(ending) {
            found.push(entry.path());
        }
    }
    found
}

#[test]
fn each_block_of_the_documentation_is_accepted() {
    let judge = Judge::new();
    let pages = [files("docs", ".md"), files("deploy", ".md"), vec![root().join("README.md")]].concat();
    let (mut blocks, mut wrong) = (0, Vec::new());
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            blocks += 1;
            let said = judge.wrong_block(block);
            wrong.extend(said.map(|said| format!("{}:\n{block}\n{said}", page.display())));
        }
    }
    assert!(blocks > 12, "{blocks} blocks were found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The pages of the providers, by their names.
fn providers() -> Vec<(String, String)> {
    let pages = files("docs/providers", ".md").into_iter();
    let name = |page: &Path| page.file_stem().unwrap().to_str().unwrap().to_owned();
    pages.map(|page| (name(&page), std::fs::read_to_string(&page).unwrap())).collect()
}

#[test]
fn each_block_of_a_provider_is_a_whole_configuration() {
    let judge = Judge::new();
    for (name, text) in providers().into_iter().filter(|(name, _)| name != "README") {
        let blocks: Vec<_> =
            text.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert!(!blocks.is_empty(), "{name}");
        for block in blocks {
            assert_eq!(judge.wrong(block), None, "{name}:\n{block}");
            assert!(block.contains("\n[route.token]\n"), "{name}:\n{block}");
            // What a server replaces at each use has to outlive a restart.
            let rotates = block.contains("\nrefresh_token = ");
            assert_eq!(rotates, block.starts_with("[state]\nstore = \"disk\"\n"), "{name}:\n{block}");
        }
        assert!(
            text.contains("Run for real") || text.contains("replayed"),
            "{name}: was it run, or replayed?"
        );
    }
}

#[test]
fn each_provider_is_in_the_table() {
    let pages = providers();
    let (_, index) = pages.iter().find(|(name, _)| name == "README").unwrap();
    let named: Vec<_> = index.lines().filter(|line| line.starts_with("| [")).collect();
    for (name, _) in pages.iter().filter(|(name, _)| name != "README") {
        assert_eq!(named.iter().filter(|line| line.contains(&format!("]({name}.md)"))).count(), 1, "{name}");
    }
    assert_eq!(named.len(), pages.len() - 1, "{named:?}");
}

#[test]
fn each_example_file_is_accepted_and_names_its_schema() {
    let judge = Judge::new();
    let examples = [files("docs", ".toml"), files("deploy", ".toml")].concat();
    assert!(examples.len() >= 3, "{examples:?}");
    for path in examples {
        let text = std::fs::read_to_string(&path).unwrap();
        let said = judge.wrong(&text);
        assert!(said.is_none(), "{}: {}", path.display(), said.unwrap_or_default());
        let schema = text.lines().next().and_then(|line| line.strip_prefix("#:schema ")).map(str::trim);
        let schema = schema.unwrap_or_else(|| panic!("{}: the first line is no #:schema", path.display()));
        let there = path.parent().unwrap().join(schema);
        let json: serde_json::Value =
            serde_json::from_str(&std::fs::read_to_string(&there).unwrap()).unwrap();
        assert_eq!(json["title"], "perennial.toml", "{}", there.display());
    }
}

#[test]
fn what_the_reader_refuses_for_its_form_the_schema_refuses_too() {
    let judge = Judge::new();
    let route = "[[route]]\nupstream = \"wss://h\"\ndialect = \"ably\"\n[route.token]\n";
    for wrong in [
        "[limits]\nsessions = 0\n".to_owned(),
        "[limits]\nhandshake = \"10 seconds\"\n".to_owned(),
        "[[route]]\nupstream = \"https://h\"\ndialect = \"none\"\n".to_owned(),
        "[[route]]\nupstream = \"wss://h\"\n".to_owned(),
        format!("{route}source = \"http\"\n"),
        format!(
            "{route}source = \"oauth2\"\ntoken_url = \"https://h\"\ngrant = \"refresh_token\"\nclient_id = \"a\"\n"
        ),
        format!("{route}source = \"static\"\ntoken = {{ fil = \"x\" }}\n"),
        format!("{route}source = \"http\"\nurl = \"https://h\"\nanswer = {{ tokn = \"/a\" }}\n"),
        "[listen]\nkey = \"Cargo.toml\"\n".to_owned(),
        "[lsten]\n".to_owned(),
    ] {
        let whole = if wrong.contains("[[route]]") { wrong } else { format!("{wrong}{}", AROUND[1].1) };
        assert!(Config::parse(&whole, "t").is_err(), "the reader accepts\n{whole}");
        assert!(judge.refused_by_the_schema(&whole).is_some(), "the schema accepts\n{whole}");
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
