//! Artefacts of an encoder on the command line: `--encoder`.

use std::fs;

use serde_json::Value;

use super::{program, run, status, stderr, stdout};
use crate::encoder::{MODELS, Trained};

#[test]
fn route_and_calibrate_take_an_encoder() {
    let trained = Trained::new();
    let (artifact, encoder) = (trained.artifact(), trained.encoder());
    let (artifact, encoder) = (artifact.to_str().unwrap(), encoder.to_str().unwrap());
    let (prompts, out) = (trained.path().join("prompts.jsonl"), trained.path().join("mine.safetensors"));
    fs::write(&prompts, "{\"prompt\": \"a b\"}\n{\"prompt\": \"b b b\"}\n{\"prompt\": \"\"}\n").unwrap();
    let (prompts, out) = (prompts.to_str().unwrap(), out.to_str().unwrap());
    let models = MODELS.join(",");
    let route = ["route", "--models", &models, "--format", "json", "--input", prompts, "--artifact"];
    let calibrate =
        ["calibrate", "--models", &models, "--prompts", prompts, "--out", out, "--artifact", artifact];
    for arguments in [&[&route[..], &[artifact]].concat(), &calibrate[..]] {
        let output = run(arguments);
        let said = stderr(&output);
        assert_eq!(status(&output), 1, "{said}");
        for part in [artifact, &trained.fingerprint, "name the folder of its encoder by `--encoder DIR`"] {
            assert!(said.contains(part), "{part}: {said}");
        }
    }
    let routed = |file: &str| {
        let output = run(&[&route[..], &[file, "--encoder", encoder]].concat());
        assert_eq!((status(&output), stderr(&output)), (0, String::new()));
        let skills = |line: &str| serde_json::from_str::<Value>(line).unwrap()["skills"].clone();
        stdout(&output).lines().map(skills).collect::<Vec<Value>>()
    };
    let output = run(&[&calibrate[..], &["--encoder", encoder]].concat());
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let skills = routed(artifact);
    assert_eq!(skills.len(), 3);
    assert_ne!(skills[0], skills[1], "the text is read");
    assert_eq!(routed(out), skills);
}

#[test]
fn a_router_that_does_not_ship_needs_an_artefact() {
    let output = run(&["route", "--router", "bert", "--models", "a,b", "x"]);
    assert_eq!(status(&output), 2);
    assert!(stderr(&output).contains("no router bert ships in this binary: give one with --artifact"));
}

/// Named by kind and encoder alone, an artefact is found among those that ship beside the binary.
#[test]
fn an_artefact_beside_the_binary_is_found_by_its_encoder() {
    let trained = Trained::new();
    let (artifact, encoder) = (trained.artifact(), trained.encoder());
    let folder = artifact.parent().unwrap();
    let models = MODELS.join(",");
    let ask = |command: &[&str], variable: &std::path::Path| {
        let arguments =
            [command, &["--router", "mf", "--models", &models, "--encoder", encoder.to_str().unwrap()]];
        program(&arguments.concat()).env("POINTSMAN_ARTIFACTS", variable).output().unwrap()
    };
    for command in [&["route", "a b"][..], &["calibrate"]] {
        let output = ask(command, folder);
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        let output = ask(command, &folder.join("nonesuch"));
        let said = stderr(&output);
        assert_eq!(status(&output), 2, "{said}");
        assert!(said.contains("POINTSMAN_ARTIFACTS") && said.contains("nonesuch"), "{said}");
    }
}
