use super::*;

#[test]
fn mini_lm_distils_the_same_twice() {
    let Some(folder) = std::env::var_os("POINTSMAN_ENCODER") else {
        eprintln!("skipped: set POINTSMAN_ENCODER to a folder holding all-MiniLM-L6-v2");
        return;
    };
    let encoder = Encoder::load(std::path::Path::new(&folder)).unwrap();
    let source = Source::of(&encoder).unwrap();
    assert_eq!(source.vocabulary.len(), 30_522);
    assert_eq!(source.sequence(7), [101, 7, 102]);
    assert!(source.is_silent("[unused9]") && !source.is_silent("["));
}
