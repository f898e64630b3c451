//! Values against plain definitions, derivatives against small moves.

use candle_core::{Device, Tensor, Var};

use super::*;

const ROWS: usize = 2;
const WIDTH: usize = 4;
const MOVE: f64 = 1e-5;

/// Values from −1 to 1 that follow no rule.
fn values(count: usize, seed: u32) -> Vec<f64> {
    let value = |place: usize| f64::from((place as u32 + 7 * seed + 1).wrapping_mul(2_654_435_761) >> 8);
    (0..count).map(|place| value(place) / f64::from(1 << 23) - 1.0).collect()
}

fn matrix(values: Vec<f64>) -> Var {
    Var::from_vec(values, (ROWS, WIDTH), &Device::Cpu).unwrap()
}

/// What a form gives, weighted so that no derivative is zero by symmetry.
fn sum(of: &Tensor) -> Tensor {
    let weights = Tensor::from_vec(values(of.elem_count(), 9), of.shape(), &Device::Cpu).unwrap();
    (of * weights).unwrap().sum_all().unwrap()
}

/// Holds the derivatives by every value of `x` against small moves of it.
fn check(form: &dyn Fn(&Tensor) -> Tensor) {
    let start = values(ROWS * WIDTH, 1);
    let x = matrix(start.clone());
    let gradients = form(&x).backward().unwrap();
    let slopes: Vec<f64> = gradients.get(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    for (place, slope) in slopes.iter().enumerate() {
        let moved = |by: f64| {
            let mut values = start.clone();
            values[place] += by;
            form(&matrix(values)).to_scalar::<f64>().unwrap()
        };
        let expected = (moved(MOVE) - moved(-MOVE)) / (2.0 * MOVE);
        assert!((slope - expected).abs() < 1e-8, "{place}: {slope}, {expected}");
    }
}

#[test]
fn derivatives_are_what_small_moves_say() {
    let scale = Tensor::from_vec(values(WIDTH, 2), WIDTH, &Device::Cpu).unwrap();
    let angles = Tensor::from_vec(values(WIDTH / 2, 3), WIDTH / 2, &Device::Cpu).unwrap();
    let targets = Tensor::new(&[[3_u32], [0]], &Device::Cpu).unwrap();
    check(&|x| sum(&rms_norm(x, &scale, 1e-5).unwrap()));
    check(&|x| sum(&softmax(x).unwrap()));
    check(&|x| sum(&rotate(x, &angles.cos().unwrap(), &angles.sin().unwrap()).unwrap()));
    check(&|x| cross_entropy(x, &targets).unwrap());
    // By the scale of a norm too.
    let scaled = |scale: &Tensor| {
        sum(&rms_norm(
            &matrix(values(ROWS * WIDTH, 4)),
            &scale.narrow(0, 0, 1).unwrap().squeeze(0).unwrap(),
            1e-5,
        )
        .unwrap())
    };
    check(&scaled);
}

#[test]
fn values_are_those_of_the_definitions() {
    let x = matrix(vec![3.0, -4.0, 0.0, 0.0, 1000.0, 1000.0, 999.0, -1e9]);
    let rows = |of: Tensor| -> Vec<Vec<f64>> { of.to_vec2().unwrap() };
    let normed = rows(rms_norm(&x, &Tensor::new(&[2.0, 1.0, 1.0, 1.0], &Device::Cpu).unwrap(), 0.0).unwrap());
    assert!((normed[0][0] - 2.4).abs() < 1e-12 && (normed[0][1] + 1.6).abs() < 1e-12, "{normed:?}");
    let shares = rows(softmax(&x).unwrap());
    let first = 1.0 / (2.0 + (-1.0_f64).exp());
    assert!((shares[1][0] - first).abs() < 1e-12 && shares[1][3] == 0.0, "{shares:?}");
    let quarter = |value: f64| Tensor::new(&[value, 1.0 - value], &Device::Cpu).unwrap();
    // A quarter turn of the first pair, none of the second.
    let turned = rows(rotate(&x, &quarter(0.0), &quarter(1.0)).unwrap());
    assert_eq!(turned[0], [0.0, -4.0, 3.0, 0.0]);
}
