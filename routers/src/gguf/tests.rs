use proptest::prelude::*;

use super::fixture::{Builder, sample};
use super::*;

fn refusal(bytes: &[u8]) -> String {
    Gguf::parse(bytes).err().map(|error| error.to_string()).unwrap_or_default()
}

/// A half-precision float that holds 1.5, 0.25 and the like: for blocks made by hand.
const HALF: [u8; 2] = 0x3800u16.to_le_bytes(); // 0.5
const TWO: [u8; 2] = 0x4000u16.to_le_bytes();

fn widened(kind: u32, values: u64, block: Vec<u8>) -> Vec<f32> {
    let bytes = Builder::default().tensor("x", &[values], kind, block).bytes();
    Gguf::parse(&bytes).unwrap().tensor("x").unwrap().to_floats()
}

#[test]
fn values_and_tensors_are_what_was_written() {
    let bytes = sample().bytes();
    let file = Gguf::parse(&bytes).unwrap();
    assert_eq!(file.value("a.number"), Some(&Value::Unsigned(7)));
    assert_eq!(file.value("a.negative").and_then(Value::number), Some(-3.0));
    assert_eq!(file.value("a.negative").and_then(Value::unsigned), None);
    assert_eq!(file.value("a.truth"), Some(&Value::Bool(true)));
    assert_eq!(file.value("a.float").and_then(Value::number), Some(0.5));
    assert_eq!(file.value("a.text").and_then(Value::text), Some("naïve"));
    assert_eq!(file.value("missing"), None);
    let texts = file.value("texts").and_then(Value::array).unwrap();
    assert_eq!((texts.len(), texts.is_empty()), (3, false));
    assert_eq!(texts.iter().map(|text| text.text().unwrap()).collect::<Vec<_>>(), ["one", "", "three"]);
    let numbers = file.value("numbers").and_then(Value::array).unwrap();
    assert_eq!(numbers.iter().map(|value| value.number().unwrap()).collect::<Vec<_>>(), [1.0, -2.0, 3.0]);
    let floats = file.tensor("floats").unwrap();
    assert_eq!(floats.to_floats(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert!(floats.has_shape(&[2, 3]) && !floats.has_shape(&[3, 2]) && !floats.has_shape(&[6]));
    assert_eq!((floats.shape(), floats.kind(), floats.count()), (vec![2, 3], Kind::F32, 6));
    assert_eq!(file.tensors().count(), 8);
    assert!(file.tensors().all(|(_, tensor)| tensor.to_floats().len() == tensor.count()));
}

#[test]
fn sixteen_bit_floats_are_widened() {
    assert_eq!(widened(1, 2, [HALF, TWO].concat()), [0.5, 2.0]);
    assert_eq!(widened(30, 2, vec![0x80, 0x3f, 0x40, 0xc0]), [1.0, -3.0]);
}

#[test]
fn blocks_of_32_follow_their_definitions() {
    let quants: Vec<u8> = (0..16).map(|place| place | ((15 - place) << 4)).collect();
    let low_then_high: Vec<f32> = (0..16).chain((0..16).rev()).map(|quant| quant as f32).collect();
    let expected: Vec<f32> = low_then_high.iter().map(|quant| 0.5 * (quant - 8.0)).collect();
    assert_eq!(widened(2, 32, [&HALF[..], &quants].concat()), expected);
    let expected: Vec<f32> = low_then_high.iter().map(|quant| 0.5 * quant + 2.0).collect();
    assert_eq!(widened(3, 32, [&HALF[..], &TWO, &quants].concat()), expected);
    let bytes: Vec<u8> = (0..32).map(|place| (place * 7 - 100i32) as u8).collect();
    let expected: Vec<f32> = (0..32).map(|place| 0.5 * (place * 7 - 100) as f32).collect();
    assert_eq!(widened(8, 32, [&HALF[..], &bytes].concat()), expected);
}

#[test]
fn q4_k_follows_its_definition() {
    // Scales and least values of eight groups, some beyond four bits, packed as ggml packs them.
    let (scales, leasts) = ([1, 17, 63, 5, 33, 2, 50, 9u8], [60, 3, 0, 31, 16, 47, 1, 63u8]);
    let mut packed = [0u8; 12];
    for group in 0..4 {
        packed[group] = scales[group] | (scales[group + 4] >> 4 << 6);
        packed[group + 4] = leasts[group] | (leasts[group + 4] >> 4 << 6);
        packed[group + 8] = (scales[group + 4] & 0xf) | (leasts[group + 4] & 0xf) << 4;
    }
    let quant = |group: usize, place: usize| ((group * 5 + place * 3) % 16) as u8;
    let quants: Vec<u8> = (0..4)
        .flat_map(|pair| (0..32).map(move |place| quant(2 * pair, place) | (quant(2 * pair + 1, place) << 4)))
        .collect();
    let found = widened(12, 256, [&HALF[..], &TWO, &packed, &quants].concat());
    for (place, value) in found.iter().enumerate() {
        let (group, within) = (place / 32, place % 32);
        let expected =
            0.5 * f32::from(scales[group]) * f32::from(quant(group, within)) - 2.0 * f32::from(leasts[group]);
        assert!((value - expected).abs() < 1e-6, "{place}: {value} {expected}");
    }
}

#[test]
fn q6_k_follows_its_definition() {
    let quant = |place: usize| (place * 11 + place / 64) % 64;
    let scale = |group: usize| (group as i32 * 9 - 70) as i8;
    let (mut low, mut high) = ([0u8; 128], [0u8; 64]);
    for place in 0..256 {
        let (half, run, within) = (place / 128, place % 128 / 32, place % 32);
        low[half * 64 + (run % 2) * 32 + within] |= ((quant(place) & 0xf) as u8) << (4 * (run / 2));
        high[half * 32 + within] |= ((quant(place) >> 4) as u8) << (2 * run);
    }
    let scales: Vec<u8> = (0..16).map(|group| scale(group).cast_unsigned()).collect();
    let found = widened(14, 256, [&low[..], &high, &scales, &HALF].concat());
    for (place, value) in found.iter().enumerate() {
        let expected = 0.5 * f32::from(scale(place / 16)) * (quant(place) as f32 - 32.0);
        assert!((value - expected).abs() < 1e-6, "{place}: {value} {expected}");
    }
}

#[test]
fn what_is_wrong_is_said() {
    let says = |builder: &Builder, text: &str| assert_eq!(refusal(&builder.bytes()), text);
    let file = Builder::default;
    assert_eq!(refusal(b"GGML\x03\0\0\0"), "not a GGUF file: it does not start with `GGUF`");
    assert_eq!(
        refusal(b"GGUF\0\0\0\x03"),
        "a big-endian GGUF file is not supported; convert it to little-endian"
    );
    assert_eq!(
        refusal(b"GGUF\x01\0\0\0"),
        "GGUF version 1 is not supported (supported: 2, 3); convert the model anew"
    );
    assert_eq!(
        refusal(b"GGUF\x03\0\0\0"),
        "cut short: the file ends within the count of tensors; fetch it again"
    );
    says(&file().u32("a", 1).u32("a", 2), "`a` is there twice");
    says(&file().entry("a", 99, &[]), "metadata `a` has the unknown type 99");
    says(&file().entry("a", 7, &[2]), "metadata `a` is a truth value of 2");
    says(&file().list("a", 9, vec![]), "metadata `a` is a list of lists, which is not supported");
    says(&file().entry("a", 8, &[2, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff]), "a is not UTF-8");
    let lying = [&4u32.to_le_bytes()[..], &u64::MAX.to_le_bytes()].concat();
    says(&file().entry("a", 9, &lying), "cut short: the file ends within a; fetch it again");
    says(
        &file().entry("general.alignment", 4, &24u32.to_le_bytes()),
        "metadata `general.alignment` is no power of two",
    );
    let tensor = |dimensions: &[u64], kind| file().tensor("t", dimensions, kind, vec![0; 64]);
    says(&tensor(&[], 0), "tensor `t` has 0 dimensions, expected 1 to 4");
    says(&tensor(&[1; 5], 0), "tensor `t` has 5 dimensions, expected 1 to 4");
    says(&tensor(&[4, 0], 0), "tensor `t` has no size that a tensor can have");
    says(&tensor(&[1 << 40, 1 << 40], 0), "tensor `t` has no size that a tensor can have");
    says(&tensor(&[1 << 62], 0), "tensor `t` has no size that a tensor can have");
    says(&tensor(&[33], 2), "tensor `t` has rows of 33 values, no multiple of its blocks' 32");
    says(
        &tensor(&[16], 6),
        "tensor `t` holds Q5_0, which is not supported (supported: F32, F16, BF16, Q8_0, Q4_0, Q4_1, Q4_K, Q6_K)",
    );
    says(
        &tensor(&[17], 0),
        "tensor `t` ends at byte 68 of the tensors, of which the file has 64: it is cut short; fetch it again",
    );
    says(&file().floats("t", &[1], &[0.0]).floats("t", &[1], &[0.0]), "`t` is there twice");
    // The second tensor's offset is the last number of the header: 32, made 0 or 8.
    let mut bytes = file().floats("t", &[8], &[0.0; 8]).floats("u", &[8], &[0.0; 8]).bytes();
    let place = bytes.windows(8).rposition(|window| window == 32u64.to_le_bytes()).unwrap();
    bytes[place] = 0;
    assert!(refusal(&bytes).ends_with("shares bytes with another"), "{}", refusal(&bytes));
    bytes[place] = 8;
    assert_eq!(refusal(&bytes), "tensor `u` starts at 8, no multiple of 32 bytes");
}

#[test]
fn every_cut_is_refused() {
    let bytes = sample().bytes();
    for length in 0..bytes.len() {
        let error = refusal(&bytes[..length]);
        assert!(
            error.contains("cut short") || length < 4 && error.starts_with("not a GGUF"),
            "{length}: {error}"
        );
    }
}

#[test]
fn fuzzing_starts_from_the_sample() {
    let seed = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/seeds/gguf/sample.gguf");
    if std::env::var_os("POINTSMAN_WRITE_SEEDS").is_some() {
        std::fs::create_dir_all(seed.parent().unwrap()).unwrap();
        std::fs::write(&seed, sample().bytes()).unwrap();
    }
    assert_eq!(std::fs::read(&seed).unwrap(), sample().bytes(), "POINTSMAN_WRITE_SEEDS=1 writes it anew");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn damaged_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        length in any::<prop::sample::Index>(),
        cut in any::<bool>(),
    ) {
        let mut bytes = sample().bytes();
        for (place, byte) in changes {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if cut {
            bytes.truncate(length.index(bytes.len()));
        }
        if let Ok(file) = Gguf::parse(&bytes) {
            let values: usize = file.tensors().map(|(_, tensor)| tensor.to_floats().len()).sum();
            // The smallest block has 32 values in 18 bytes.
            prop_assert!(values <= bytes.len() * 2);
        }
    }
}
