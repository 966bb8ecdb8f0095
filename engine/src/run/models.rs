//! The models of a plan's operators.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use operators::{Model, OperatorConfig, OperatorError, PoseNetworks};

use crate::{Plan, RunError};

/// The models of operators, by operator. Loading them beforehand builds the dataflow without any I/O.
#[derive(Clone, Debug, Default)]
pub(crate) struct Models {
    /// Of operators that infer people from CSI.
    pub(crate) csi: BTreeMap<String, Arc<Model>>,
    /// Of operators that find people in pictures.
    pub(crate) pose: BTreeMap<String, Arc<PoseNetworks>>,
}

impl Models {
    /// Reads the models that operators use; relative paths are relative to `directory`.
    pub(super) fn load(plan: &Plan, directory: &Path) -> Result<Self, RunError> {
        let mut models = Self::default();
        for operator in &plan.operators {
            models
                .add(&operator.name, &operator.config, directory)
                .map_err(|source| RunError::Operator { name: operator.name.clone(), source })?;
        }
        Ok(models)
    }

    fn add(
        &mut self,
        name: &str,
        config: &OperatorConfig,
        directory: &Path,
    ) -> Result<(), OperatorError> {
        match config {
            OperatorConfig::Infer(config) => {
                let model = Arc::new(Model::load(&directory.join(&config.model))?);
                self.csi.insert(name.to_owned(), model);
            }
            OperatorConfig::EstimatePose(config) => {
                let networks = Arc::new(PoseNetworks::load(config, directory)?);
                self.pose.insert(name.to_owned(), networks);
            }
            _ => {}
        }
        Ok(())
    }
}
