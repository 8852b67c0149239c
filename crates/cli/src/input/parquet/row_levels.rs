//! Pages before the decoder has them: the repetition levels are gone through before there is memory
//! for them (a few bytes may say that a row has a thousand million elements), and pages without
//! values are left out, which pyarrow writes and the decoder takes for the column's end.

use bytes::Bytes;
use parquet::basic::Encoding;
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};

/// The most values that one row may have in a column, its nulls and empty lists among them: as
/// JSON each takes two bytes or more, so a row of so many is 2 MiB long at least.
pub(super) const ROW_LEVELS_MAX: u64 = 1 << 20;

/// The pages of a column, refused when a row has too many values.
pub(super) struct CheckedPages<P> {
    pages: P,
    max_repetition: i16,
    /// Values of the row that is being read.
    in_row: u64,
    /// Values of the pages that are still to come, as the footer says.
    left: i64,
    /// Whether the page at hand ends with a row.
    ends_row: bool,
}

impl<P: PageReader> CheckedPages<P> {
    /// Pages of a column with this highest repetition level, and so many values in all.
    pub(super) fn new(pages: P, max_repetition: i16, values: i64) -> CheckedPages<P> {
        CheckedPages { pages, max_repetition, in_row: 0, left: values, ends_row: false }
    }

    fn count(&mut self, page: &Page) -> Result<()> {
        let (levels, count) = match page {
            Page::DictionaryPage { .. } => return Ok(()),
            Page::DataPage { buf, num_values, rep_level_encoding, .. } => {
                if *rep_level_encoding != Encoding::RLE {
                    return Err(wrong("its levels are in an encoding that was given up"));
                }
                let length = buf.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
                (length.and_then(|length| part(buf, 4, length)), *num_values)
            }
            Page::DataPageV2 { buf, num_values, rep_levels_byte_len, .. } => {
                (part(buf, 0, *rep_levels_byte_len), *num_values)
            }
        };
        // Those of the second version hold whole rows, those of the first may not.
        self.left = self.left.saturating_sub(count.into());
        self.ends_row = matches!(page, Page::DataPageV2 { .. }) || self.left <= 0;
        let levels = levels.ok_or_else(|| wrong("its levels are longer than their page"))?;
        let bit_width = u16::BITS - self.max_repetition.unsigned_abs().leading_zeros();
        let in_row = self.in_row;
        self.in_row = count_rows(levels, bit_width, count.into(), in_row)?;
        Ok(())
    }
}

impl<P: PageReader> PageReader for CheckedPages<P> {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        while let Some(page) = self.pages.get_next_page()? {
            let is_empty = page.is_data_page() && page.num_values() == 0;
            if !is_empty && self.max_repetition > 0 {
                self.count(&page)?;
            }
            if !is_empty {
                return Ok(Some(page));
            }
        }
        Ok(None)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    /// Without a look at the next page, after which the decoder would ask for bytes that aren't a
    /// page's header as if they were.
    fn at_record_boundary(&mut self) -> Result<bool> {
        Ok(self.ends_row)
    }
}

impl<P: PageReader> Iterator for CheckedPages<P> {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Result<Page>> {
        self.get_next_page().transpose()
    }
}

fn part(page: &Bytes, start: usize, length: u32) -> Option<&[u8]> {
    let length = usize::try_from(length).ok()?;
    page.get(start..start.checked_add(length)?)
}

fn wrong(what: &str) -> ParquetError {
    ParquetError::General(what.to_owned())
}

/// Goes through the levels of a page (runs, and groups of eight packed ones: the format's "RLE/bit
/// packing hybrid"), the last row having so many values before it: how many its last row has.
fn count_rows(mut levels: &[u8], bit_width: u32, count: u64, mut in_row: u64) -> Result<u64> {
    let mut left = count;
    let mut take = |level: u64, times: u64| {
        in_row = if level == 0 { 1 } else { in_row.saturating_add(times) };
        match in_row > ROW_LEVELS_MAX {
            true => Err(wrong(&format!(
                "a row of it has more than the {ROW_LEVELS_MAX} values that are taken"
            ))),
            false => Ok(()),
        }
    };
    while left > 0 {
        let too_few = || wrong("its levels are fewer than its values");
        let header = varint(&mut levels).ok_or_else(too_few)?;
        let many = header >> 1;
        if header & 1 == 0 {
            let bytes = bit_width.div_ceil(8) as usize;
            let (value, rest) = levels.split_at_checked(bytes).ok_or_else(too_few)?;
            let level = value.iter().rev().fold(0, |level, byte| level << 8 | u64::from(*byte));
            levels = rest;
            take(level, many.min(left))?;
            left -= many.min(left);
        } else {
            let mut places = many.saturating_mul(8).min(left);
            while places > 0 {
                // The last group of a page may be shorter than the eight levels it stands for.
                let bytes = (bit_width as usize).min(levels.len());
                let (packed, rest) = levels.split_at(bytes);
                levels = rest;
                let bits =
                    packed.iter().rev().fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
                let here = places.min(bytes as u64 * 8 / u64::from(bit_width));
                if here == 0 {
                    return Err(too_few());
                }
                for place in 0..here {
                    let level = bits >> (place as u32 * bit_width) & ((1 << bit_width) - 1);
                    take(level as u64, 1)?;
                }
                (places, left) = (places - here, left - here);
            }
        }
        if many == 0 {
            return Err(wrong("a run of its levels is empty"));
        }
    }
    Ok(in_row)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0_u64;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_and_packed_levels_are_counted_over_the_ends_of_pages() {
        // Five times 1, then 0 1 1 0 1 1 1 1 packed.
        let levels = [10, 1, 3, 0b1111_0110];
        assert_eq!(count_rows(&levels, 1, 5, 3).unwrap(), 8);
        assert_eq!(count_rows(&levels, 1, 8, 3).unwrap(), 3);
        assert_eq!(count_rows(&levels, 1, 13, 3).unwrap(), 5);
        // Levels of three bits: 0 1 2 3 4 5 0 7.
        let packed = [3, 0b1000_1000, 0b1100_0110, 0b1110_0010];
        assert_eq!(count_rows(&packed, 3, 8, 0).unwrap(), 2);
        let two_bytes = [4, 1, 1];
        assert_eq!(count_rows(&two_bytes, 9, 2, 1).unwrap(), 3);
    }

    #[test]
    fn a_row_of_too_many_values_is_refused_in_no_time_and_so_are_levels_cut_short() {
        // 2^31 times 1: the decoder would take 4 GiB for them.
        let bomb = [0x80, 0x80, 0x80, 0x80, 0x10, 1];
        let told = count_rows(&bomb, 1, 1 << 31, 1).unwrap_err().to_string();
        assert!(told.contains("more than the 1048576 values"), "{told}");
        assert!(count_rows(&[0x80, 0x80, 0x80, 1, 0], 1, 1 << 20, 1).is_ok(), "rows of one value");
        for cut in [&[][..], &[0x80], &[10], &[3], &[0, 1], &[1]] {
            assert!(count_rows(cut, 1, 9, 0).is_err(), "{cut:?}");
        }
        assert!(count_rows(&[0xff; 20], 1, 9, 0).is_err());
    }
}
