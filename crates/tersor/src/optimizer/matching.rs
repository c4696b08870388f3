//! Which parameter of an optimizer is which tensor of a model: an optimizer numbers its parameters, group after group, and
//! knows their shapes, nothing else.

use crate::{Error, Result};
use tersor_codec::TensorInfo;

/// A parameter to be matched.
pub(super) struct Wanted<'w> {
    pub(super) label: &'w str,
    pub(super) group: usize,
    /// `None` if it was never stepped: such a parameter may be any tensor, and it does not matter which.
    pub(super) shape: Option<&'w [u64]>,
}

/// What helps when numbers do not suffice.
const REMEDY: &str = "build the optimizer from `model.named_parameters()`, so that PyTorch (2.6 or later) saves the names, or use \
     `from_optimizer` of python/tersor_torch.py, where the model and its optimizer are at hand";

/// The tensor of every parameter that has a shape: index into `tensors`.
///
/// If the tensors are in the order of the model, each group has to be a subsequence of them in exactly one way, apart from
/// what other groups have. If they are not, each shape has to occur once.
///
/// # Errors
/// [`Error::Optimizer`] if there is no such match or several, with the parameter and the tensors that it could be.
pub(super) fn find(
    wanted: &[Wanted<'_>],
    tensors: &[&TensorInfo],
    is_ordered: bool,
) -> Result<Vec<Option<usize>>> {
    if !is_ordered {
        return wanted.iter().map(|w| by_shape(w, wanted, tensors)).collect();
    }
    let n_groups = wanted.iter().map(|w| w.group + 1).max().unwrap_or(0);
    let groups: Vec<Vec<usize>> = (0..n_groups)
        .map(|group| {
            (0..wanted.len())
                .filter(|&i| wanted.get(i).is_some_and(|w| w.group == group))
                .collect()
        })
        .collect();
    // What is certain for one group is not there for the others, which may make more certain.
    let mut owners: Vec<Option<usize>> = vec![None; tensors.len()];
    let mut range = vec![(0, 0); wanted.len()];
    loop {
        let before = owners.clone();
        for (group, members) in groups.iter().enumerate() {
            let free = |t: &usize| {
                owners
                    .get(*t)
                    .is_some_and(|owner| owner.is_none_or(|o| o == group))
            };
            let free: Vec<usize> = (0..tensors.len()).filter(free).collect();
            let members: Vec<&Wanted<'_>> = members.iter().filter_map(|&i| wanted.get(i)).collect();
            let first = embed(members.iter(), free.iter(), tensors)
                .map_err(|found| misfit(&members, &found, &free, tensors))?;
            let mut last = embed(members.iter().rev(), free.iter().rev(), tensors)
                .map_err(|found| misfit(&members, &found, &free, tensors))?;
            last.reverse();
            for ((i, first), last) in groups.get(group).into_iter().flatten().zip(first).zip(last) {
                if let Some(range) = range.get_mut(*i) {
                    *range = (first, last);
                }
                if first == last
                    && let Some(owner) = owners.get_mut(first)
                {
                    *owner = Some(group);
                }
            }
        }
        if owners == before {
            break;
        }
    }
    let certain = |(w, &(first, last)): (&Wanted<'_>, &(usize, usize))| {
        let Some(shape) = w.shape else { return Ok(None) };
        if first == last {
            return Ok(Some(first));
        }
        Err(Error::Optimizer(format!(
            "parameter {} of shape {shape:?} could be {:?} or {:?}: the optimizer has {} parameters, the model {} tensors that \
             could be among them, and their order and shapes leave a choice; {REMEDY}",
            w.label,
            name(tensors, first),
            name(tensors, last),
            wanted.len(),
            tensors.len(),
        )))
    };
    wanted.iter().zip(&range).map(certain).collect()
}

fn name<'t>(tensors: &[&'t TensorInfo], index: usize) -> &'t str {
    tensors.get(index).map_or("", |info| &info.name)
}

/// The one tensor of a parameter's shape, if no other parameter has it.
fn by_shape(w: &Wanted<'_>, wanted: &[Wanted<'_>], tensors: &[&TensorInfo]) -> Result<Option<usize>> {
    let Some(shape) = w.shape else { return Ok(None) };
    let fit: Vec<usize> = (0..tensors.len())
        .filter(|&t| tensors.get(t).is_some_and(|info| info.shape == shape))
        .collect();
    let rivals = wanted.iter().filter(|other| other.shape == w.shape).count();
    let label = w.label;
    match fit.as_slice() {
        [one] if rivals == 1 => Ok(Some(*one)),
        [] => Err(Error::Optimizer(format!(
            "parameter {label} has shape {shape:?}, which no tensor of the model has; give the model that was trained"
        ))),
        [one] => Err(Error::Optimizer(format!(
            "{rivals} parameters have shape {shape:?}, parameter {label} among them, but of the model's tensors only {:?}; \
             give the model that was trained",
            name(tensors, *one)
        ))),
        [one, other, ..] => Err(Error::Optimizer(format!(
            "parameter {label} of shape {shape:?} could be {:?} or {:?}: the model's tensors are in the order of their names, as \
             safetensors writes them, which does not tell that of its parameters; give its state dict as `torch.save` \
             wrote it, or {REMEDY}",
            name(tensors, *one),
            name(tensors, *other)
        ))),
    }
}

/// The first tensor for each parameter in turn; or those found until there was none.
fn embed<'m>(
    members: impl Iterator<Item = &'m &'m Wanted<'m>>,
    free: impl Iterator<Item = &'m usize>,
    tensors: &[&TensorInfo],
) -> std::result::Result<Vec<usize>, Vec<usize>> {
    let (mut found, mut free) = (Vec::new(), free);
    for member in members {
        let fits = |t: &&usize| match (member.shape, tensors.get(**t)) {
            (Some(shape), Some(info)) => info.shape == shape,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        match free.find(fits) {
            Some(&tensor) => found.push(tensor),
            None => return Err(found),
        }
    }
    Ok(found)
}

/// Why a group is no subsequence of the tensors: `found` are those of its first parameters.
fn misfit(members: &[&Wanted<'_>], found: &[usize], free: &[usize], tensors: &[&TensorInfo]) -> Error {
    let label = members.get(found.len()).map_or("", |w| w.label);
    let shape = members.get(found.len()).and_then(|w| w.shape);
    let shape = shape.map_or_else(String::new, |shape| format!(" of shape {shape:?}"));
    let after = found.last().map_or_else(String::new, |&t| {
        format!(
            " after {:?}, which the one before it takes at the earliest",
            name(tensors, t)
        )
    });
    let next = free.iter().find(|&&t| found.last().is_none_or(|&last| t > last));
    let next = next.and_then(|&t| tensors.get(t)).map_or_else(
        || "there is none left".to_owned(),
        |info| format!("the next is {:?} of shape {:?}", info.name, info.shape),
    );
    Error::Optimizer(format!(
        "parameter {label}{shape} fits no tensor of the model{after}: {next}; the model has {} tensors that could be the {} \
         parameters of this group; give the model that was trained, or {REMEDY}",
        free.len(),
        members.len()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tersor_codec::Dtype;

    /// Parameters as (group, shape), tensors as (name, shape).
    fn names(
        wanted: &[(usize, Option<&[u64]>)],
        tensors: &[(&str, &[u64])],
        is_ordered: bool,
    ) -> Result<Vec<String>> {
        let labels: Vec<String> = (0..wanted.len()).map(|i| i.to_string()).collect();
        let wanted: Vec<Wanted<'_>> = wanted
            .iter()
            .zip(&labels)
            .map(|(&(group, shape), label)| Wanted { label, group, shape })
            .collect();
        let infos: Vec<TensorInfo> = tensors
            .iter()
            .map(|(name, shape)| TensorInfo {
                name: (*name).into(),
                dtype: Dtype::F32,
                shape: shape.to_vec(),
                shard: 0,
            })
            .collect();
        let infos: Vec<&TensorInfo> = infos.iter().collect();
        let found = find(&wanted, &infos, is_ordered)?;
        Ok(found
            .iter()
            .map(|t| t.map_or("", |t| name(&infos, t)).to_owned())
            .collect())
    }

    const MODEL: [(&str, &[u64]); 5] = [
        ("a.weight", &[4, 3]),
        ("a.bias", &[4]),
        ("norm.weight", &[4]),
        ("norm.bias", &[4]),
        ("b.weight", &[2, 4]),
    ];

    #[test]
    fn all_parameters_are_matched_in_order() {
        let all: Vec<_> = MODEL.iter().map(|(_, shape)| (0, Some(*shape))).collect();
        assert_eq!(names(&all, &MODEL, true).unwrap(), MODEL.map(|(name, _)| name));
    }

    #[test]
    fn missing_parameters_are_fine_where_one_match_is_left() {
        let found = names(&[(0, Some(&[4, 3])), (0, Some(&[2, 4]))], &MODEL, true).unwrap();
        assert_eq!(found, ["a.weight", "b.weight"]);
        let message = names(&[(0, Some(&[4])), (0, Some(&[2, 4]))], &MODEL, true)
            .unwrap_err()
            .to_string();
        assert!(message.contains("\"a.bias\" or \"norm.bias\""), "{message}");
        // A parameter without a state takes a place of any shape.
        let found = names(
            &[
                (0, None),
                (0, Some(&[4])),
                (0, Some(&[4])),
                (0, Some(&[4])),
                (0, None),
            ],
            &MODEL,
            true,
        );
        assert_eq!(found.unwrap(), ["", "a.bias", "norm.weight", "norm.bias", ""]);
    }

    #[test]
    fn groups_leave_each_other_what_is_certain() {
        // Without the second group, the first vector of the first could be any of three.
        let groups = [
            (0, Some([4].as_slice())),
            (1, Some(&[4, 3])),
            (1, Some(&[4])),
            (1, Some(&[4])),
            (1, Some(&[2, 4])),
        ];
        let tensors = [MODEL[0], MODEL[1], MODEL[2], MODEL[4], ("c.bias", &[4])];
        let found = names(&groups, &tensors, true).unwrap();
        assert_eq!(found, ["c.bias", "a.weight", "a.bias", "norm.weight", "b.weight"]);
    }

    #[test]
    fn other_shapes_are_refused_with_both_sides() {
        let message = names(&[(0, Some(&[4, 3])), (0, Some(&[5]))], &MODEL, true)
            .unwrap_err()
            .to_string();
        for part in [
            "parameter 1 of shape [5]",
            "after \"a.weight\"",
            "\"a.bias\" of shape [4]",
        ] {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn without_order_every_shape_has_to_be_unique() {
        let found = names(&[(0, Some(&[2, 4])), (0, Some(&[4, 3]))], &MODEL, false).unwrap();
        assert_eq!(found, ["b.weight", "a.weight"]);
        let message = names(&[(0, Some(&[4]))], &MODEL, false).unwrap_err().to_string();
        assert!(
            message.contains("\"a.bias\" or \"norm.weight\"") && message.contains("torch.save"),
            "{message}"
        );
        assert!(names(&[(0, Some(&[9]))], &MODEL, false).is_err());
        assert!(names(&[(0, Some(&[4, 3])), (0, Some(&[4, 3]))], &MODEL, false).is_err());
    }
}
