//! Files of battles, outcomes and votes: how every command reads them, tells what it refused, and names them in a
//! manifest.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};

use pointsman_routers::artifact::Source;
use pointsman_routers::data::{
    Dataset, DatasetBuilder, LoadReport, PresentationOrders, ReadOptions, Singles, Visit, read_file,
};
use pointsman_routers::train::licence_of_file;
use sha2::{Digest, Sha256};

use super::output::{Failure, thousands};
use super::{files, progress};

/// What a file of data holds.
const EXPECTED: &str = "a file of outcomes, battles or votes, plain or gzipped";

/// Reads the files that `option` names into a dataset, and tells on stderr what each held. A judge's verdicts in both presentation orders become
/// one battle.
pub(super) fn read(
    option: &str,
    files: &[PathBuf],
    options: &ReadOptions,
) -> Result<(Dataset, Vec<LoadReport>), Failure> {
    let mut builder = DatasetBuilder::new();
    let reports = read_rows(option, files, options, &mut |row| builder.add(row))?;
    reports.iter().for_each(|report| tracing::info!("{}", account(report)));
    Ok((builder.finish(PresentationOrders::United(Singles::Keep)), reports))
}

/// Hands the rows of all files to `visit`, with a bar; what was refused is told on stderr.
pub(super) fn read_rows(
    option: &str,
    files: &[PathBuf],
    options: &ReadOptions,
    visit: Visit<'_>,
) -> Result<Vec<LoadReport>, Failure> {
    files.iter().try_for_each(|file| files::expect(option, file, EXPECTED))?;
    let mut reports = Vec::with_capacity(files.len());
    for file in files {
        let bytes = std::fs::metadata(file).map_or(0, |metadata| metadata.len());
        let bar = progress::bar("bytes read", usize::try_from(bytes).unwrap_or(usize::MAX));
        let report = read_file(file, options, &mut |done| bar.set_position(done), visit);
        bar.finish_and_clear();
        let report = report.map_err(Failure::because)?;
        tell_refused(&report);
        reports.push(report);
    }
    Ok(reports)
}

/// The first rows that were refused.
fn tell_refused(report: &LoadReport) {
    let file = report.file.display();
    for rejection in &report.examples {
        tracing::warn!("{file}: {} {}: {}", report.format.unit(), rejection.line, rejection.problem);
    }
}

/// What was read of a file.
pub(super) fn account(report: &LoadReport) -> String {
    let rows = thousands(report.rows);
    let mut text = format!("{}: {rows} rows", report.file.display());
    let refused = report.rejected_total();
    if refused > 0 {
        let kinds: Vec<String> =
            report.rejected.iter().map(|(kind, count)| format!("{} {kind}", thousands(*count))).collect();
        text += &format!(", {} refused ({})", thousands(refused), kinds.join(", "));
    }
    if let Some(filter) = report.filter {
        let [before, anonymous, sampled] = [filter.before, filter.anonymous, filter.sampled].map(thousands);
        text += &format!("; {before} battles, of these {anonymous} with anony, of these {sampled} sampled");
    }
    text
}

/// What a manifest says of the files that were read, in an order that is not theirs; `licences` are (file name, terms).
pub(super) fn sources(reports: &[LoadReport], licences: &[(String, String)]) -> Result<Vec<Source>, Failure> {
    let mut sources: Vec<Source> =
        reports.iter().map(|report| source(report, licences)).collect::<Result<_, _>>()?;
    sources.sort_by(|one, other| (&one.name, &one.sha256).cmp(&(&other.name, &other.sha256)));
    Ok(sources)
}

fn source(report: &LoadReport, licences: &[(String, String)]) -> Result<Source, Failure> {
    let file = report.file.as_path();
    let sha256 = digest(file).map_err(|error| Failure::Because(format!("{}: {error}", file.display())))?;
    let name = file.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let stated = licences.iter().find(|(of, _)| *of == name).map(|(_, terms)| terms.as_str());
    let licence = stated.or_else(|| licence_of_file(&name)).unwrap_or("not stated").to_owned();
    Ok(Source { name, sha256, rows: report.rows, licence })
}

/// `NAME=TERMS`, a value of `--licence`.
pub(super) fn licence(text: &str) -> Result<(String, String), String> {
    let (name, terms) = text.split_once('=').ok_or("expected NAME=TERMS")?;
    Ok((name.to_owned(), terms.to_owned()))
}

/// SHA-256 in hexadecimal.
fn digest(file: &Path) -> io::Result<String> {
    let mut reader = BufReader::new(File::open(file)?);
    let mut digest = Sha256::new();
    loop {
        let chunk = reader.fill_buf()?;
        let length = chunk.len();
        if length == 0 {
            break;
        }
        digest.update(chunk);
        reader.consume(length);
    }
    Ok(digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
