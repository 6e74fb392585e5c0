//! [`md5`], by which clients spread keys.

/// MD5 (RFC 1321), which spreads keys here and protects nothing.
pub(crate) fn md5(data: &[u8]) -> [u8; 16] {
    const SHIFTS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];
    let mut padded = data.to_vec();
    padded.push(0x80);
    padded.resize(padded.len() + (119 - data.len() % 64) % 64, 0);
    padded.extend((data.len() as u64 * 8).to_le_bytes());
    let mut state = [0x6745_2301_u32, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
    for block in padded.as_chunks::<64>().0 {
        let words = block.as_chunks::<4>().0;
        let [mut a, mut b, mut c, mut d] = state;
        for step in 0..64 {
            let (mixed, word) = match step / 16 {
                0 => (b & c | !b & d, step),
                1 => (d & b | !d & c, 5 * step + 1),
                2 => (b ^ c ^ d, 3 * step + 5),
                _ => (c ^ (b | !d), 7 * step),
            };
            let word = u32::from_le_bytes(words[word % 16]);
            let sum = a.wrapping_add(mixed).wrapping_add(sine(step)).wrapping_add(word);
            (a, d, c, b) = (d, c, b, b.wrapping_add(sum.rotate_left(SHIFTS[step / 16][step % 4])));
        }
        let [old_a, old_b, old_c, old_d] = state;
        state = [old_a.wrapping_add(a), old_b.wrapping_add(b), old_c.wrapping_add(c), old_d.wrapping_add(d)];
    }
    let mut digest = [0; 16];
    for (bytes, word) in digest.as_chunks_mut::<4>().0.iter_mut().zip(state) {
        *bytes = word.to_le_bytes();
    }
    digest
}

/// The constant of a step of MD5.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "its integer part, as it is defined"
)]
fn sine(step: usize) -> u32 {
    let step = u32::try_from(step).map_or(0.0, f64::from);
    ((step + 1.0).sin().abs() * 4_294_967_296.0) as u32
}
