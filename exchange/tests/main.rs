//! Metadata moved in and out, with the real store of CMF in `fixtures/cmf-sample`.

mod dvc;
mod export;
mod hostile;
mod sample;
mod support;
