//! What a network is to answer: the examples' labels, or what a teacher says.

use super::EpochReport;
use super::features::{Compare, Features};
use crate::canon::Canonical;
use crate::examples::{Batch, Examples};
use crate::gradient::to_logits;
use crate::graph::{Mode, Network, Observer, Unobserved, Weights};
use crate::loss::Logits;
use crate::{Error, Parameters, Result, digest};
use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use std::sync::mpsc::sync_channel;
use tersor_data::Key;

/// A network whose answers are the labels (distillation: Hinton, Vinyals, Dean, 2015).
pub struct Teacher {
    weights: Weights,
    how: Distillation,
}

/// How a teacher's answers are learned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distillation {
    /// Logits of both networks are divided by it.
    pub temperature: f32,
    /// Weight of activations, which are learned as well if it is positive: the loss is greater by half their squared errors over the
    /// squares of the teacher's, on average over all activation functions, times the weight (hints: Romero et al., 2015).
    pub features: f32,
}

impl Distillation {
    /// Answers alone.
    pub fn new(temperature: f32) -> Self {
        Self {
            temperature,
            features: 0.0,
        }
    }
}

impl Teacher {
    /// The network with these parameters.
    pub fn new(parameters: &Parameters, how: Distillation, device: &Device) -> Self {
        Self {
            weights: Weights::new(parameters, device, false),
            how,
        }
    }

    /// How it is learned from.
    pub fn how(&self) -> Distillation {
        self.how
    }

    /// Tells it from others.
    ///
    /// # Errors
    /// [`Error::Internal`] if parameters cannot be read back.
    pub(crate) fn digest(&self, network: &Network) -> Result<String> {
        let parameters = Parameters::new(network, self.weights.values()?);
        Ok(digest::of_parameters(&parameters))
    }

    /// The same with its units in another order, that of a network which is to learn their activations.
    ///
    /// # Errors
    /// [`Error::Internal`] if parameters cannot be read back.
    pub(crate) fn reordered(&self, network: &Network, order: &Canonical) -> Result<Self> {
        let mut values = self.weights.values()?;
        order.reorder(network, &mut values);
        let parameters = Parameters::new(network, values);
        Ok(Self::new(&parameters, self.how, self.weights.device()))
    }

    /// Whether activations are learned.
    pub(crate) fn shows_features(&self) -> bool {
        self.how.features > 0.0
    }
}

/// One batch, and the wanted answers to it.
pub(crate) struct Lesson<'a> {
    /// What is learned from.
    pub(crate) batch: Batch,
    taught: Option<Taught<'a>>,
}

/// What a teacher says to a batch.
struct Taught<'a> {
    teacher: &'a Teacher,
    answers: Logits,
    features: Option<Features>,
}

impl<'a> Taught<'a> {
    fn new(network: &Network, teacher: &'a Teacher, batch: &Batch) -> Result<Self> {
        let weights = &teacher.weights;
        let mut features = teacher.shows_features().then(|| Features::of(batch));
        let input = batch.to_device(weights.device());
        let observer: &mut dyn Observer = match &mut features {
            Some(features) => features,
            None => &mut Unobserved,
        };
        let output = network.forward(weights, input, Mode::Evaluate, observer)?;
        Ok(Self {
            teacher,
            answers: to_logits(output)?,
            features,
        })
    }
}

/// How a network did in all lessons of an epoch.
#[derive(Default)]
pub(crate) struct Marks {
    /// Sum over rows, nats: cross-entropy with the labels, or the divergence from the teacher's answers, not softened.
    pub(crate) loss: f64,
    /// Rows with the label on top.
    n_right: usize,
    /// Rows that have a label.
    n_rows: usize,
}

impl Marks {
    /// Their means, with the number of the epoch, from 1, and the last learning rate.
    pub(crate) fn report(&self, epoch: usize, learning_rate: f64) -> EpochReport {
        let n_rows = self.n_rows.max(1) as f64;
        EpochReport {
            epoch,
            loss: self.loss / n_rows,
            accuracy: self.n_right as f64 / n_rows,
            learning_rate,
        }
    }
}

/// Where lessons come from.
pub(crate) struct Lessons<'a> {
    /// Who reads the examples.
    pub(crate) network: &'a Network,
    /// What is learned from.
    pub(crate) examples: &'a dyn Examples,
    /// Whose answers are wanted in place of labels.
    pub(crate) teacher: Option<&'a Teacher>,
    /// What augmentation draws from.
    pub(crate) key: Key,
}

impl<'a> Lessons<'a> {
    /// Asks the teacher, if there is one.
    ///
    /// # Errors
    /// As [`Examples::batch`] and [`Network::forward`].
    fn lesson(&self, indices: &[usize]) -> Result<Lesson<'a>> {
        let batch = self.examples.batch(indices, Some(self.key))?;
        let ask = |teacher| Taught::new(self.network, teacher, &batch);
        let taught = self.teacher.map(ask).transpose()?;
        Ok(Lesson { batch, taught })
    }

    /// Gives the lesson of each batch to `learn`, in order. Where there are threads, the next one is prepared meanwhile in one of its own: what of
    /// either runs on one thread leaves the others to the other.
    ///
    /// # Errors
    /// The first of either.
    pub(crate) fn each(
        &self,
        batches: impl Iterator<Item = Vec<usize>> + Send,
        mut learn: impl FnMut(Lesson<'a>) -> Result<()>,
    ) -> Result<()> {
        let mut lessons = batches.map(|indices| self.lesson(&indices));
        if rayon::current_num_threads() == 1 {
            return lessons.try_for_each(|lesson| learn(lesson?));
        }
        std::thread::scope(|scope| {
            let (sender, receiver) = sync_channel(0);
            // Nobody listens any more once a lesson has failed.
            let mut tell = move |lesson: Result<_>| {
                let is_last = lesson.is_err();
                sender.send(lesson).is_ok() && !is_last
            };
            let prepare = move || while lessons.next().is_some_and(&mut tell) {};
            let prepare = std::thread::Builder::new()
                .name("lessons".into())
                .spawn_scoped(scope, prepare);
            prepare.map_err(|e| Error::Internal(format!("starting a thread: {e}")))?;
            receiver.into_iter().try_for_each(|lesson| learn(lesson?))
        })
    }
}

impl Lesson<'_> {
    /// What sees a network run that learns this, besides another observer.
    pub(crate) fn watch<'o>(&'o self, observer: &'o mut dyn Observer) -> Compare<'o> {
        let taught = self.taught.as_ref();
        let wanted = taught.and_then(|t| Some((t.features.as_ref()?, t.teacher.how.features)));
        Compare::new(wanted, observer)
    }

    /// Marks answers. Returns the gradient of their mean loss with respect to the logits.
    pub(crate) fn mark(&self, answers: &Logits, marks: &mut Marks) -> Vec<f32> {
        let labels = &self.batch.labels;
        let scores = answers.losses(labels);
        let n_rows = scores.losses.len();
        let weight = 1.0 / n_rows.max(1) as f32;
        let (loss, gradient) = match &self.taught {
            Some(taught) => (
                taught
                    .answers
                    .divergences(answers, labels)
                    .into_iter()
                    .map(f64::from)
                    .sum(),
                answers.gradient_towards(&taught.answers, labels, weight, taught.teacher.how.temperature),
            ),
            None => (scores.sum(), answers.gradient(labels, weight, 1.0)),
        };
        marks.loss += loss;
        marks.n_right += scores.correct.iter().filter(|&&c| c).count();
        marks.n_rows += n_rows;
        gradient
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::canon::canon;
    use crate::examples::BatchInput;
    use crate::gradient::backward;
    use crate::models::lenet5;
    use tersor_data::Random;

    /// The label of example i is i; there is no example 7, and asking for example 9 is a mistake of the caller's.
    struct Numbered;

    impl Examples for Numbered {
        fn len(&self) -> usize {
            10
        }

        fn batch(&self, indices: &[usize], _: Option<Key>) -> Result<Batch> {
            assert!(!indices.contains(&9), "there is no example 9");
            if indices.contains(&7) {
                return Err(Error::Input("example 7 cannot be read".into()));
            }
            Ok(Batch {
                input: BatchInput::Images(Vec::new(), [0; 4]),
                labels: indices.iter().map(|&i| i as u32).collect(),
            })
        }
    }

    /// Labels of the lessons that were learned until one failed, and how it ended.
    fn learn(batches: &[usize], fails_at: u32, n_threads: usize) -> (Vec<u32>, Result<()>) {
        let network = lenet5();
        let lessons = Lessons {
            network: &network,
            examples: &Numbered,
            teacher: None,
            key: Key::default(),
        };
        let mut learned = Vec::new();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(n_threads)
            .build()
            .unwrap();
        let end = pool.install(|| {
            lessons.each(batches.iter().map(|&i| vec![i]), |lesson| {
                let label = lesson.batch.labels[0];
                if label == fails_at {
                    return Err(Error::Input(format!("{label} is too hard")));
                }
                learned.push(label);
                Ok(())
            })
        });
        (learned, end)
    }

    #[test]
    fn lessons_come_in_order_and_the_first_error_ends_them() {
        for n_threads in [1, 2] {
            let (learned, end) = learn(&[3, 1, 2], 99, n_threads);
            assert!(end.is_ok() && learned == [3, 1, 2], "{learned:?}");
            // Of the examples, and of learning; what is behind it is never reached, nor waited for.
            let (learned, end) = learn(&[3, 1, 7, 9, 2], 99, n_threads);
            assert_eq!(learned, [3, 1]);
            assert!(end.unwrap_err().to_string().contains("example 7"));
            let (learned, end) = learn(&[3, 1, 2, 4, 5], 1, n_threads);
            assert_eq!(learned, [3]);
            assert!(end.unwrap_err().to_string().contains("1 is too hard"));
        }
    }

    #[test]
    fn a_teacher_in_the_order_of_its_pupil_has_nothing_to_say_against_itself() {
        let (network, device) = (lenet5(), crate::open_device("cpu").unwrap());
        let mut original = Parameters::random(&network, 1);
        // Some weights less for some units, which are sorted by that.
        for (_, values) in original.iter_mut() {
            let pruned = |i: usize| (i * i / 7).is_multiple_of(3);
            let values = values.iter_mut().enumerate();
            values.filter(|(i, _)| pruned(*i)).for_each(|(_, w)| *w = 0.0);
        }
        let mut pupil = original.clone();
        let order = canon(&network, &mut pupil);
        assert!(pupil != original);
        let how = Distillation {
            features: 1.0,
            ..Distillation::new(1.0)
        };
        let teacher = Teacher::new(&original, how, &device);
        let mut random = Random::new(2);
        let pixels = (0..2 * 784).map(|_| random.normal()).collect();
        let batch = Batch {
            input: BatchInput::Images(pixels, [2, 1, 28, 28]),
            labels: vec![0; 2],
        };
        let weights = Weights::new(&pupil, &device, true);
        let largest = |teacher: &Teacher| {
            let lesson = Lesson {
                batch: batch.clone(),
                taught: Some(Taught::new(&network, teacher, &batch).unwrap()),
            };
            let mut unobserved = Unobserved;
            let mut watch = lesson.watch(&mut unobserved);
            let mark = |answers: &Logits| Ok(lesson.mark(answers, &mut Marks::default()));
            let gradients = backward(&network, &weights, &batch, Mode::Evaluate, &mut watch, mark).unwrap();
            gradients
                .iter()
                .flatten()
                .fold(0.0f32, |most, g| most.max(g.abs()))
        };
        assert!(largest(&teacher) > 0.01);
        let reordered = largest(&teacher.reordered(&network, &order).unwrap());
        assert!(reordered < 1e-4, "{reordered}");
    }

    #[test]
    #[should_panic(expected = "panicked")]
    fn a_panic_of_the_examples_is_no_end() {
        let (learned, end) = learn(&[3, 9, 2], 99, 2);
        unreachable!("{learned:?} {end:?}");
    }
}
