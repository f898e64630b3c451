//! The container file holds what it promises, as far as that can be told without building it.

use std::{fs, path::Path};

use pointsman::config::{Config, Input};

fn repository(path: &str) -> String {
    format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap()
}

/// The instructions and their arguments, in order.
fn instructions() -> Vec<(String, String)> {
    let text = read("deploy/Dockerfile");
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect();
    let text = lines.join("\n").replace("\\\n", " ");
    let lines = text.lines().filter_map(|line| line.trim().split_once(' '));
    lines.map(|(name, arguments)| (name.to_owned(), arguments.trim().to_owned())).collect()
}

/// The arguments of each such instruction of the last stage: what the image is.
fn of_the_image(name: &str) -> Vec<String> {
    let all = instructions();
    let begins = all.iter().rposition(|(name, _)| name == "FROM").unwrap();
    let named = all.into_iter().skip(begins).filter(|(found, _)| found == name);
    named.map(|(_, arguments)| arguments).collect()
}

/// The one such instruction, a list in JSON: the image has no shell that would take anything else apart.
fn program(name: &str) -> Vec<String> {
    let [list] = &of_the_image(name)[..] else { panic!("one {name}") };
    serde_json::from_str(list).unwrap()
}

/// What each `COPY` takes from the repository, and where to.
fn copies() -> Vec<(Vec<String>, String)> {
    let copies = instructions().into_iter().filter(|(name, _)| name == "COPY");
    let of_repository = copies.filter(|(_, arguments)| !arguments.contains("--from="));
    let paths = of_repository.map(|(_, arguments)| {
        let words = arguments.split_whitespace().filter(|word| !word.starts_with("--"));
        let mut paths: Vec<String> = words.map(str::to_owned).collect();
        let target = paths.pop().unwrap();
        (paths, target)
    });
    paths.collect()
}

#[test]
fn it_is_no_root_by_number() {
    let users = of_the_image("USER");
    let user = users.last().expect("a user");
    let ids: Vec<u32> = user.split(':').map(|id| id.parse().unwrap()).collect();
    assert!(ids.len() == 2 && !ids.contains(&0), "{user}");
}

#[test]
fn bases_are_not_just_the_latest() {
    let bases: Vec<String> =
        instructions().into_iter().filter(|(name, _)| name == "FROM").map(|(_, image)| image).collect();
    for base in &bases {
        let image = base.split(' ').next().unwrap();
        let (_, version) = image.rsplit_once([':', '@']).expect(image);
        assert!(!version.contains('/') && !version.contains("latest"), "{image}");
    }
    let minor = |version: &str| version.split('.').nth(1).unwrap().parse::<u32>().unwrap();
    let (_, rust) = bases[0].split_once(":1.").expect("Rust of a version");
    assert!(
        minor(&format!("1.{rust}")) >= minor(env!("CARGO_PKG_RUST_VERSION")),
        "Rust is older than we need"
    );
}

#[test]
fn everything_copied_is_there_and_not_ignored() {
    let ignore = read(".dockerignore");
    let mut rules = ignore.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(rules.next(), Some("*"), "everything is left out but for what is named");
    let let_in: Vec<&Path> = rules.map(|rule| Path::new(rule.strip_prefix('!').unwrap())).collect();
    for source in copies().into_iter().flat_map(|(sources, _)| sources) {
        let path = Path::new(&source);
        assert!(Path::new(&repository(&source)).exists(), "{source}");
        assert!(
            let_in.iter().any(|rule| path.starts_with(rule) || rule.starts_with(path)),
            "{source} is ignored"
        );
    }
    for path in let_in {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(path).exists(), "{}", path.display());
    }
}

#[test]
fn routers_lie_beside_the_program() {
    let beside = Path::new(&program("ENTRYPOINT")[0]).with_file_name("artifacts");
    let copied: Vec<String> = copies()
        .into_iter()
        .filter(|(_, to)| Path::new(to) == beside)
        .flat_map(|(sources, _)| sources)
        .collect();
    let shipped = fs::read_dir(repository("routers/artifacts")).unwrap();
    let names = shipped.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let of_encoders: Vec<String> = names.filter(|name| name.ends_with("-minilm.safetensors")).collect();
    assert!(!of_encoders.is_empty());
    for name in of_encoders {
        assert!(copied.contains(&format!("routers/artifacts/{name}")), "{name}");
    }
}

#[test]
fn it_serves_as_the_samples_and_the_readme_say() {
    let arguments = program("CMD");
    let [serve, option, config] = &arguments[..] else { panic!("{arguments:?}") };
    assert_eq!((&serve[..], &option[..]), ("serve", "--config"));
    let config = Path::new(config);
    let mounted = format!(":{}:ro", config.parent().unwrap().display());
    assert!(read("README.md").contains(&mounted), "the README mounts no configuration at {mounted}");

    let sample = read(&format!("deploy/config/{}", config.file_name().unwrap().display()));
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let environment = |_: &str| Some("placeholder".to_owned());
    let input = Input { name: "sample", bytes: sample.as_bytes(), directory, environment: &environment };
    let loaded = Config::parse(&input).expect("a valid sample");
    // Of two listeners one alone is for strangers.
    assert_eq!(of_the_image("EXPOSE"), [loaded.config.listen.port().to_string()]);
    assert_eq!(of_the_image("ARG").first(), Some(&format!("VERSION={}", env!("CARGO_PKG_VERSION"))));
}
