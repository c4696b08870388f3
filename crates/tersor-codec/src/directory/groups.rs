//! Groups, as a directory tells of them.

use super::fields::Fields;
use super::{Directory, GroupEntry, Segment};
use crate::group::MAX_GROUP_ELEMENTS;
use crate::range::BitCoder;
use crate::{Coder, Error, Result};

pub(super) fn code_groups(
    coder: &mut impl BitCoder,
    fields: &mut Fields,
    directory: &mut Directory,
    given: &Directory,
) -> Result<()> {
    let items: Vec<(usize, u64)> = directory.items().collect();
    fields.spend(16 * items.len() as u64)?;
    let mut items = items.into_iter().peekable();
    // Elements of the item at hand that earlier groups hold.
    let mut start = 0u64;
    while let Some(&(item, n)) = items.peek() {
        let group = given.groups.get(directory.groups.len());
        let chunk = group.and_then(|g| g.segments.first()).filter(|s| s.len < n);
        fields.spend(size_of::<GroupEntry>() as u64)?;
        let mut segments = Vec::new();
        let mut n_elements = 0u64;
        if start == 0 && coder.bit(&mut fields.whole, chunk.is_none())? {
            let count = group.map_or(1, |g| g.segments.len() as u64);
            let count = fields
                .n_segments
                .code(coder, count.saturating_sub(1))?
                .saturating_add(1);
            for _ in 0..count {
                let (item, len) = items.next().ok_or_else(|| {
                    Error::corrupt(
                        "directory",
                        format!("a group of {count} tensors, more than there are"),
                    )
                })?;
                fields.spend(size_of::<Segment>() as u64)?;
                segments.push(Segment { item, start: 0, len });
                n_elements = n_elements.saturating_add(len);
            }
        } else {
            let len = group.and_then(|g| g.segments.first()).map_or(1, |s| s.len);
            let len = fields
                .n_segments
                .code(coder, len.saturating_sub(1))?
                .saturating_add(1);
            if len > n - start {
                return Err(Error::corrupt(
                    "directory",
                    format!("a chunk of {len} of {} elements", n - start),
                ));
            }
            fields.spend(4 * size_of::<Segment>() as u64)?;
            segments.push(Segment { item, start, len });
            n_elements = len;
            start += len;
            if start == n {
                start = 0;
                items.next();
            }
        }
        if n_elements > MAX_GROUP_ELEMENTS {
            return Err(Error::corrupt(
                "directory",
                format!("a group of {n_elements} elements; at most 2^24 are allowed"),
            ));
        }
        let code = fields.coder.code(coder, group.map_or(0, |g| g.coder as u32))?;
        let size_bytes = fields.size_bytes.code(coder, group.map_or(0, |g| g.size_bytes))?;
        let crc = coder.direct(32, group.map_or(0, |g| g.crc))?;
        directory.groups.push(GroupEntry {
            coder: Coder::from_code(u64::from(code))?,
            size_bytes,
            crc,
            segments,
        });
    }
    Ok(())
}
