//! Settings.
/// Settings of the engine.
#[derive(Clone, Debug)]
pub struct EngineConfig {}
impl EngineConfig {
 /// Defaults, overridden by the environment variables `STEPWELL_*`.
 pub fn from_env() -> crate::error::Result<Self> { unimplemented!() }
}
