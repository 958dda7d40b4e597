//! A classifier with one hidden layer, trained by stochastic gradient descent. Plain loops; no library.

use super::digits::{CLASSES, Images, PIXELS, Random};

/// Neurons of the hidden layer.
pub const HIDDEN: usize = 32;
/// Weights and biases in all.
pub const WEIGHTS: usize = HIDDEN * PIXELS + HIDDEN + CLASSES * HIDDEN + CLASSES;
/// Where each part starts in the weights.
const BIAS_1: usize = HIDDEN * PIXELS;
const WEIGHT_2: usize = BIAS_1 + HIDDEN;
const BIAS_2: usize = WEIGHT_2 + CLASSES * HIDDEN;

/// 64 inputs, 32 rectified hidden neurons, 10 outputs with a softmax.
pub struct Model {
    weights: Vec<f32>,
    gradient: Vec<f32>,
}

/// What one training step saw.
#[derive(Clone, Copy, Debug)]
pub struct StepResult {
    /// Mean cross-entropy over the batch.
    pub loss: f64,
    /// Share of the batch that was classified right.
    pub accuracy: f64,
    /// Euclidean length of the gradient.
    pub grad_norm: f64,
}

/// Values of the neurons for one image.
struct Activations {
    hidden: [f32; HIDDEN],
    shares: [f32; CLASSES],
}

impl Model {
    /// A model with random weights (He et al. 2015) and no bias.
    pub fn new(seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut weights = vec![0.0; WEIGHTS];
        let mut fill = |part: &mut [f32], inputs: usize| {
            let deviation = (2.0 / inputs as f32).sqrt();
            part.iter_mut().for_each(|weight| *weight = random.normal() * deviation);
        };
        fill(&mut weights[..BIAS_1], PIXELS);
        fill(&mut weights[WEIGHT_2..BIAS_2], HIDDEN);
        Self { weights, gradient: vec![0.0; WEIGHTS] }
    }

    /// Names, shapes and values of the tensors.
    pub fn tensors(&self) -> [(&'static str, Vec<usize>, &[f32]); 4] {
        [
            ("hidden.weight", vec![HIDDEN, PIXELS], &self.weights[..BIAS_1]),
            ("hidden.bias", vec![HIDDEN], &self.weights[BIAS_1..WEIGHT_2]),
            ("output.weight", vec![CLASSES, HIDDEN], &self.weights[WEIGHT_2..BIAS_2]),
            ("output.bias", vec![CLASSES], &self.weights[BIAS_2..]),
        ]
    }

    /// One step of gradient descent on the images of a batch.
    pub fn step(&mut self, images: &Images, batch: &[usize], learning_rate: f32) -> StepResult {
        self.gradient.fill(0.0);
        let (mut loss, mut right) = (0.0, 0);
        for index in batch {
            let (image, label) = (images.image(*index), usize::from(images.labels[*index]));
            let activations = self.forward(image);
            loss -= f64::from(activations.shares[label].max(f32::MIN_POSITIVE)).ln();
            right += usize::from(highest(&activations.shares) == label);
            self.backward(image, label, &activations);
        }
        let size = batch.len() as f32;
        let mut square = 0.0;
        for (weight, gradient) in self.weights.iter_mut().zip(&self.gradient) {
            let mean = gradient / size;
            square += f64::from(mean * mean);
            *weight -= learning_rate * mean;
        }
        let size = f64::from(size);
        StepResult { loss: loss / size, accuracy: right as f64 / size, grad_norm: square.sqrt() }
    }

    /// Share of the images that are classified right.
    pub fn accuracy(&self, images: &Images) -> f64 {
        let is_right = |i: &usize| highest(&self.forward(images.image(*i)).shares) == usize::from(images.labels[*i]);
        (0..images.len()).filter(is_right).count() as f64 / images.len() as f64
    }

    fn forward(&self, image: &[f32]) -> Activations {
        let mut hidden = [0.0; HIDDEN];
        for (i, neuron) in hidden.iter_mut().enumerate() {
            let weights = &self.weights[i * PIXELS..(i + 1) * PIXELS];
            *neuron = (dot(weights, image) + self.weights[BIAS_1 + i]).max(0.0);
        }
        let mut shares = [0.0; CLASSES];
        for (i, output) in shares.iter_mut().enumerate() {
            let weights = &self.weights[WEIGHT_2 + i * HIDDEN..WEIGHT_2 + (i + 1) * HIDDEN];
            *output = dot(weights, &hidden) + self.weights[BIAS_2 + i];
        }
        // The highest output is taken off first, so that no exponential overflows.
        let top = shares.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        shares.iter_mut().for_each(|share| *share = (*share - top).exp());
        let sum: f32 = shares.iter().sum();
        shares.iter_mut().for_each(|share| *share /= sum);
        Activations { hidden, shares }
    }

    fn backward(&mut self, image: &[f32], label: usize, activations: &Activations) {
        let mut hidden_error = [0.0; HIDDEN];
        for i in 0..CLASSES {
            let error = activations.shares[i] - f32::from(u8::from(i == label));
            let start = WEIGHT_2 + i * HIDDEN;
            add_scaled(&mut self.gradient[start..start + HIDDEN], error, &activations.hidden);
            self.gradient[BIAS_2 + i] += error;
            add_scaled(&mut hidden_error, error, &self.weights[start..start + HIDDEN]);
        }
        for (i, error) in hidden_error.iter().enumerate() {
            if activations.hidden[i] > 0.0 {
                add_scaled(&mut self.gradient[i * PIXELS..(i + 1) * PIXELS], *error, image);
                self.gradient[BIAS_1 + i] += error;
            }
        }
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn add_scaled(sum: &mut [f32], factor: f32, values: &[f32]) {
    sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += factor * value);
}

fn highest(values: &[f32]) -> usize {
    (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images() -> Images {
        let mut random = Random::new(7);
        let pixels = (0..20 * PIXELS).map(|_| random.normal().abs().min(1.0)).collect();
        Images { pixels, labels: (0..20).map(|i| i % 10).collect() }
    }

    #[test]
    fn the_gradient_is_the_slope_of_the_loss() {
        let images = images();
        let batch: Vec<usize> = (0..images.len()).collect();
        let mut model = Model::new(1);
        model.step(&images, &batch, 0.0);
        let gradient: Vec<f32> = model.gradient.iter().map(|sum| sum / batch.len() as f32).collect();
        for index in [0, 100, BIAS_1 + 3, WEIGHT_2 + 17, BIAS_2 + 9] {
            let mut at = |delta: f32| {
                let kept = model.weights[index];
                model.weights[index] = kept + delta;
                let loss = model.step(&images, &batch, 0.0).loss;
                model.weights[index] = kept;
                loss
            };
            let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
            assert!((slope - f64::from(gradient[index])).abs() < 2e-3, "{index}: {slope} and {}", gradient[index]);
        }
    }

    #[test]
    fn training_learns_the_images() {
        let images = images();
        let batch: Vec<usize> = (0..images.len()).collect();
        let mut model = Model::new(1);
        let first = model.step(&images, &batch, 0.5);
        (0..300).for_each(|_| {
            model.step(&images, &batch, 0.5);
        });
        let last = model.step(&images, &batch, 0.5);
        assert!(last.loss < first.loss / 10.0 && last.grad_norm < first.grad_norm, "{first:?} {last:?}");
        assert_eq!(model.accuracy(&images), 1.0);
    }
}
