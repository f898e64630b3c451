//! GGUF files made up for tests.

/// A file to be.
#[derive(Clone, Default)]
pub(crate) struct Builder {
    alignment: Option<u32>,
    entries: Vec<Vec<u8>>,
    tensors: Vec<(String, Vec<u64>, u32, Vec<u8>)>,
}

impl Builder {
    /// Tensors at multiples of this.
    pub(crate) fn aligned(mut self, alignment: u32) -> Self {
        self.alignment = Some(alignment);
        self.entry("general.alignment", 4, &alignment.to_le_bytes())
    }

    /// A metadata value of a type, as bytes.
    pub(crate) fn entry(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.entries.push([&text(key)[..], &kind.to_le_bytes(), value].concat());
        self
    }

    pub(crate) fn u32(self, key: &str, value: u32) -> Self {
        self.entry(key, 4, &value.to_le_bytes())
    }

    pub(crate) fn f32(self, key: &str, value: f32) -> Self {
        self.entry(key, 6, &value.to_le_bytes())
    }

    pub(crate) fn text(self, key: &str, value: &str) -> Self {
        self.entry(key, 8, &text(value))
    }

    pub(crate) fn texts(self, key: &str, values: &[String]) -> Self {
        let values = values.iter().map(|value| text(value)).collect();
        self.list(key, 8, values)
    }

    /// A list of values of a type, each as bytes.
    pub(crate) fn list(self, key: &str, kind: u32, values: Vec<Vec<u8>>) -> Self {
        let count = (values.len() as u64).to_le_bytes();
        self.entry(key, 9, &[&kind.to_le_bytes()[..], &count, &values.concat()].concat())
    }

    /// A tensor, the fastest-running dimension first.
    pub(crate) fn tensor(mut self, name: &str, dimensions: &[u64], kind: u32, data: Vec<u8>) -> Self {
        self.tensors.push((name.to_owned(), dimensions.to_vec(), kind, data));
        self
    }

    /// A tensor of 32-bit floats.
    pub(crate) fn floats(self, name: &str, dimensions: &[u64], values: &[f32]) -> Self {
        self.tensor(name, dimensions, 0, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let alignment = self.alignment.unwrap_or(32) as usize;
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.entries.len() as u64).to_le_bytes());
        bytes.extend(self.entries.concat());
        let mut data = Vec::new();
        for (name, dimensions, kind, values) in &self.tensors {
            data.resize(data.len().next_multiple_of(alignment), 0);
            bytes.extend(text(name));
            bytes.extend((dimensions.len() as u32).to_le_bytes());
            bytes.extend(dimensions.iter().flat_map(|size| size.to_le_bytes()));
            bytes.extend(kind.to_le_bytes());
            bytes.extend((data.len() as u64).to_le_bytes());
            data.extend(values);
        }
        bytes.resize(bytes.len().next_multiple_of(alignment), 0);
        [bytes, data].concat()
    }
}

fn text(value: &str) -> Vec<u8> {
    [&(value.len() as u64).to_le_bytes()[..], value.as_bytes()].concat()
}

/// A small file of all kinds of values and tensors.
pub(crate) fn sample() -> Builder {
    let file = Builder::default()
        .aligned(64)
        .u32("a.number", 7)
        .entry("a.negative", 5, &(-3i32).to_le_bytes())
        .entry("a.truth", 7, &[1])
        .f32("a.float", 0.5)
        .text("a.text", "naïve")
        .texts("texts", &["one".to_owned(), String::new(), "three".to_owned()])
        .list("numbers", 5, [1i32, -2, 3].map(|value| value.to_le_bytes().to_vec()).to_vec())
        .floats("floats", &[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    [(1, 2, 1), (30, 2, 1), (8, 34, 32), (2, 18, 32), (3, 20, 32), (12, 144, 256), (14, 210, 256)]
        .into_iter()
        .fold(file, |file, (kind, bytes, values)| {
            let data = (0..2 * bytes).map(|place| (place * 37 % 61) as u8).collect();
            file.tensor(&format!("kind{kind}"), &[values, 2], kind, data)
        })
}
