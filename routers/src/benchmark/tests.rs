use std::fs;

use super::*;

const STRONG: &str = "gpt-4-1106-preview";
const WEAK: &str = "mixtral-8x7b-instruct-v0.1";

fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

fn read(benchmark: Benchmark, files: &[(&str, &str)]) -> Result<Questions, String> {
    benchmark.read(folder(files).path(), STRONG, WEAK).map_err(|error| error.to_string())
}

fn qualities(questions: &Questions) -> Vec<(f64, f64)> {
    questions.questions.iter().map(|question| (question.quality.strong, question.quality.weak)).collect()
}

#[test]
fn mmlu_is_read_in_the_order_of_its_files() {
    let files = [
        ("mmlu_b.csv", "prompt,gpt-4-1106-preview,mistralai/Mixtral-8x7B-Instruct-v0.1\nfourth,True,True\n"),
        ("notes.csv", "nothing"),
        (
            "mmlu_a.csv",
            "prompt,mistralai/Mixtral-8x7B-Instruct-v0.1,gpt-4-1106-preview,gpt-4-1106-preview_response\n\
             \"first,\nwith \"\"quotes\"\"\",False,True,whatever\nsecond,True,False,x\nthird,0,1.0,x\n",
        ),
    ];
    let questions = read(Benchmark::Mmlu, &files).unwrap();
    assert_eq!(questions.questions[0].turns, ["first,\nwith \"quotes\""]);
    assert_eq!(qualities(&questions), [(1.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]);
    assert_eq!((questions.rejected, questions.contaminated), (0, 0));
}

#[test]
fn contaminated_questions_are_left_out() {
    let table = "prompt,gpt-4-1106-preview,mixtral-8x7b-instruct-v0.1\nOne,True,False\nTwo,False,True\n";
    let listed = "{\"train_prompt\":\"x\",\"eval_prompt\":\"two\"}\n\n{\"eval_prompt\":\"unheard of\"}\n";
    let files = [("gsm8k_responses.csv", table), ("contaminated_prompts.jsonl", listed)];
    let questions = read(Benchmark::Gsm8k, &files).unwrap();
    assert_eq!((qualities(&questions), questions.contaminated), (vec![(1.0, 0.0)], 1));
    let files = [("gsm8k_responses.csv", table), ("contaminated_prompts.jsonl", "{\"prompt\":\"two\"}\n")];
    assert!(read(Benchmark::Gsm8k, &files).unwrap_err().contains("line 1: missing field `eval_prompt`"));
}

#[test]
fn both_turns_count_for_mt_bench() {
    let questions = "{\"question_id\":81,\"category\":\"writing\",\"turns\":[\"Write.\",\"Again.\"]}\n";
    let score = |model: &str, turn: u32, score: f64| {
        format!("{{\"question_id\":81,\"model\":\"{model}\",\"turn\":{turn},\"score\":{score}}}\n")
    };
    let strong = [score(STRONG, 1, 10.0), score(STRONG, 2, 9.0)].concat();
    // Judged twice: the mean of both.
    let weak = "mistralai/Mixtral-8x7B-Instruct-v0.1";
    let weak =
        [score(weak, 1, 8.0), score(weak, 1, 6.0), score(weak, 2, 4.0), score("other", 1, 1.0)].concat();
    let judged = [strong.clone(), weak].concat();
    let read_with = |judged: &str, more: (&str, &str)| {
        read(Benchmark::MtBench, &[("question.jsonl", questions), ("judgements.jsonl", judged), more])
    };
    let found = read_with(&judged, ("x", "")).unwrap();
    assert_eq!(qualities(&found), [(9.5, 5.5)]);
    assert_eq!(found.questions[0].turns, ["Write.", "Again."]);
    let listed = ("contaminated_prompts.jsonl", "{\"eval_prompt\":\"Again.\"}");
    assert_eq!(read_with(&judged, listed).unwrap().contaminated, 1, "any turn is enough");
    let error = read_with(&strong, ("x", "")).unwrap_err();
    assert!(error.contains("question.jsonl:1: 0 of the 2 turns of the weak model are judged"), "{error}");
}

#[test]
fn bad_rows_are_counted_and_refused_past_one_percent() {
    let rows = |good: usize| {
        let good: String = (0..good).map(|row| format!("question {row},True,False\n")).collect();
        format!("prompt,gpt-4-1106-preview,mixtral-8x7b-instruct-v0.1\nbad,True,maybe\n{good}")
    };
    let few = rows(99);
    let questions = read(Benchmark::Gsm8k, &[("gsm8k_responses.csv", &few)]).unwrap();
    assert_eq!((questions.questions.len(), questions.rejected), (99, 1));
    assert!(questions.examples[0].to_string().contains("gsm8k_responses.csv:2: \"maybe\" is neither"));
    let many = rows(98);
    let error = read(Benchmark::Gsm8k, &[("gsm8k_responses.csv", &many)]).unwrap_err();
    assert!(error.starts_with("1 of 99 rows cannot be used, more than 1 %:\n"), "{error}");
}

#[test]
fn a_row_is_named_by_the_line_it_starts_on_whatever_ends_a_line() {
    let good = "\"two\nlines\",True,False\n".repeat(100);
    let rows = format!("prompt,gpt-4-1106-preview,mixtral-8x7b-instruct-v0.1\n{good}bad,True,maybe\n");
    for rows in [rows.replace('\n', "\r\n"), rows] {
        let questions = read(Benchmark::Gsm8k, &[("gsm8k_responses.csv", &rows)]).unwrap();
        assert_eq!((questions.questions.len(), questions.examples[0].line), (100, 202));
    }
}

#[test]
fn a_folder_or_file_of_something_else_is_said() {
    let error = |files: &[(&str, &str)], benchmark| read(benchmark, files).unwrap_err();
    assert!(error(&[], Benchmark::Mmlu).contains("there is no mmlu_*.csv in this folder"));
    assert!(error(&[("question.jsonl", "")], Benchmark::MtBench).contains("there is no judgements.jsonl"));
    let other = [("gsm8k_responses.csv", "prompt,gpt-4-1106-preview,claude-2\nx,True,True\n")];
    let missing = error(&other, Benchmark::Gsm8k);
    assert!(
        missing.contains("no column mixtral-8x7b-instruct-v0.1; the header has prompt, gpt-4"),
        "{missing}"
    );
    let empty = [("gsm8k_responses.csv", "prompt,gpt-4-1106-preview,mixtral-8x7b-instruct-v0.1\n")];
    assert!(error(&empty, Benchmark::Gsm8k).contains("no question has answers of both"));
    let absent = Benchmark::Mmlu.read(Path::new("/no/such/folder"), STRONG, WEAK).unwrap_err();
    assert!(absent.to_string().starts_with("/no/such/folder: "), "{absent}");
}
