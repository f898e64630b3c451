//! Prompts from the command line, a file or stdin, one at a time.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use pointsman::openai::request::Request;
use pointsman_routers::json;
use serde::Deserialize;
use serde_json::Value;

use super::output::Failure;

/// A prompt and what its row is called.
#[derive(Debug, PartialEq)]
pub(super) struct Prompt {
    /// The row's own, or null.
    pub(super) id: Value,
    /// What the user said, turn by turn.
    pub(super) turns: Vec<String>,
}

/// Lines that hold no prompt are told, up to so many.
const REFUSED_NAMED: usize = 5;

/// What a client would send that says this, turn by turn, to `model`.
pub(super) fn request(model: &str, turns: &[String]) -> Result<Request, Failure> {
    let messages: Vec<_> =
        turns.iter().map(|turn| serde_json::json!({"role": "user", "content": turn})).collect();
    let body = serde_json::json!({"model": model, "messages": messages}).to_string();
    Request::parse(body.into()).map_err(Failure::because)
}

/// A row of the input. Other keys are no concern of ours.
#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    id: Value,
    prompt: Turns,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "`prompt` must be a text or a list of texts")]
enum Turns {
    One(String),
    Several(Vec<String>),
}

/// Prompts, in their order.
pub(super) enum Prompts<'a> {
    Given(std::slice::Iter<'a, String>),
    Read { name: String, line: usize, lines: io::Lines<Box<dyn BufRead>> },
}

impl<'a> Prompts<'a> {
    /// From the file `input` (`-` is stdin) if there is one, else those `given`.
    pub(super) fn open(input: Option<&Path>, given: &'a [String]) -> Result<Self, Failure> {
        let Some(path) = input else { return Ok(Self::Given(given.iter())) };
        if path == Path::new("-") {
            let stdin: Box<dyn BufRead> = Box::new(BufReader::new(io::stdin()));
            return Ok(Self::Read { name: "stdin".to_owned(), line: 0, lines: stdin.lines() });
        }
        let name = path.display().to_string();
        let file = File::open(path).map_err(|error| Failure::Because(format!("{name}: {error}")))?;
        let file: Box<dyn BufRead> = Box::new(BufReader::new(file));
        Ok(Self::Read { name, line: 0, lines: file.lines() })
    }
}

impl Prompts<'_> {
    /// The next prompt, or what is wrong with its line; the failure when nothing more can be read.
    fn read(&mut self) -> Option<Result<Result<Prompt, String>, Failure>> {
        match self {
            Self::Given(prompts) => {
                prompts.next().map(|prompt| Ok(Ok(Prompt { id: Value::Null, turns: vec![prompt.clone()] })))
            }
            Self::Read { name, line, lines } => loop {
                *line += 1;
                let prompt = match lines.next()? {
                    Ok(text) if text.trim().is_empty() => continue,
                    Ok(text) => parse(&text),
                    Err(error) if error.kind() == io::ErrorKind::InvalidData => Err(format!(" {error}")),
                    Err(error) => return Some(Err(Failure::Because(format!("{name}: {error}")))),
                };
                return Some(Ok(prompt.map_err(|problem| format!("{name}:{line}:{problem}"))));
            },
        }
    }

    /// All prompts. Lines that hold none are told on stderr, and left out; there may be one in a hundred.
    pub(super) fn all(mut self) -> Result<Vec<Prompt>, Failure> {
        let (mut prompts, mut refused) = (Vec::new(), Vec::new());
        while let Some(prompt) = self.read() {
            match prompt? {
                Ok(prompt) => prompts.push(prompt),
                Err(problem) => refused.push(problem),
            }
        }
        let lines = prompts.len() + refused.len();
        if refused.len() * 100 > lines {
            let first: Vec<&str> = refused.iter().take(REFUSED_NAMED).map(String::as_str).collect();
            let (refused, first) = (refused.len(), first.join("\n  "));
            return Err(Failure::Because(format!(
                "{refused} of {lines} lines hold no prompt, more than 1 %:\n  {first}"
            )));
        }
        refused.iter().take(REFUSED_NAMED).for_each(|problem| tracing::warn!("{problem}"));
        if !refused.is_empty() {
            tracing::warn!("{} of {lines} lines hold no prompt and are left out", refused.len());
        }
        Ok(prompts)
    }
}

impl Iterator for Prompts<'_> {
    type Item = Result<Prompt, Failure>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(self.read()?.and_then(|prompt| prompt.map_err(Failure::Because)))
    }
}

/// The error continues `FILE:LINE:`, by a column where it has one.
fn parse(line: &str) -> Result<Prompt, String> {
    let row: Row = serde_json::from_str(line)
        .map_err(|error| format!("{}: {}", error.column(), json::problem(&error)))?;
    let turns = match row.prompt {
        Turns::One(turn) => vec![turn],
        Turns::Several(turns) if turns.is_empty() => return Err(" `prompt` holds no turn".to_owned()),
        Turns::Several(turns) => turns,
    };
    Ok(Prompt { id: row.id, turns })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows() {
        let read = |line| parse(line).map(|prompt| (prompt.id, prompt.turns.join("|")));
        assert_eq!(read(r#"{"prompt": "a"}"#), Ok((Value::Null, "a".to_owned())));
        assert_eq!(read(r#"{"id": [1], "prompt": ["a", ""], "x": 0}"#), Ok((json!([1]), "a|".to_owned())));
        for wrong in
            [r#"{"id": 1}"#, r#"{"prompt": 1}"#, r#"{"prompt": []}"#, r#"{"prompt": ["a", 1]}"#, "[]", "{"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
