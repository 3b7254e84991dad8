//! Little-endian integers at fixed offsets: how every header of the journal is written and read.

use crate::journal::units::{Epoch, Seq, Watermark};

pub(super) fn put_bytes(bytes: &mut [u8], offset: usize, value: &[u8]) {
    bytes[offset..offset + value.len()].copy_from_slice(value);
}

pub(super) fn put_u16_le(bytes: &mut [u8], offset: usize, value: u16) {
    put_bytes(bytes, offset, &value.to_le_bytes());
}

pub(super) fn put_u32_le(bytes: &mut [u8], offset: usize, value: u32) {
    put_bytes(bytes, offset, &value.to_le_bytes());
}

pub(super) fn put_u64_le(bytes: &mut [u8], offset: usize, value: u64) {
    put_bytes(bytes, offset, &value.to_le_bytes());
}

pub(super) fn u16_le_at(bytes: &[u8], offset: usize) -> u16 {
    let mut value = [0; 2];
    value.copy_from_slice(&bytes[offset..offset + 2]);
    u16::from_le_bytes(value)
}

pub(super) fn u32_le_at(bytes: &[u8], offset: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[offset..offset + 4]);
    u32::from_le_bytes(value)
}

pub(super) fn u64_le_at(bytes: &[u8], offset: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[offset..offset + 8]);
    u64::from_le_bytes(value)
}

/// Writes the epoch and the next number, 8 bytes each.
pub(super) fn put_watermark(bytes: &mut [u8], offset: usize, watermark: Watermark) {
    put_u64_le(bytes, offset, watermark.epoch.get());
    put_u64_le(bytes, offset + 8, watermark.next.get());
}

/// Reads what [`put_watermark`] wrote.
pub(super) fn watermark_at(bytes: &[u8], offset: usize) -> Watermark {
    Watermark { epoch: Epoch::new(u64_le_at(bytes, offset)), next: Seq::new(u64_le_at(bytes, offset + 8)) }
}
