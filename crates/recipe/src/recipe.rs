//! The checked recipe. It cannot be built with mistakes in it; [`crate::bind()`] makes a plan
//! of it.

use std::ops::Range;
use std::sync::Arc;

use trimloop_core::plan::{CharacteristicId, ModelId, Plan};

use crate::diagnostic::Source;
use crate::fault::Fault;
use crate::raw::RawRecipe;
use crate::spanned::At;

/// A recipe without errors, not yet bound to a PLC config and models.
#[derive(Clone, Debug)]
pub struct Recipe {
    pub(crate) source: Arc<Source>,
    pub(crate) raw: RawRecipe,
    /// Complete but for links (only named yet), trained models (which follow the charts) and hash.
    pub(crate) plan: Plan,
    pub(crate) artifacts: Vec<ArtifactUse>,
    pub(crate) faults: Vec<Fault>,
}

impl Recipe {
    /// Name.
    pub fn name(&self) -> &str {
        &self.plan.name
    }

    /// Revision, from 1.
    pub fn revision(&self) -> u32 {
        self.plan.revision
    }

    /// Names of the PLC configs it runs on, in the order of the plan's links: the leading one, then
    /// the others by name.
    pub fn plcs(&self) -> impl Iterator<Item = &str> {
        self.plan.links.iter().map(|link| link.name.as_str())
    }

    /// Where the recipe names a PLC for the first time; the head for one that it does not name.
    pub(crate) fn plc_span(&self, name: &str) -> Range<usize> {
        let head = &self.raw.recipe.plc;
        let tags = self.raw.tag.iter().filter_map(|(_, tag)| tag.plc.as_ref());
        let named = std::iter::once(head).chain(tags).find(|plc| plc.as_str() == name);
        named.unwrap_or(head).span()
    }

    /// Folders under models/ that it needs.
    pub fn model_files(&self) -> impl Iterator<Item = &str> {
        self.artifacts.iter().flat_map(|artifact| {
            let challenger = artifact.challenger.as_ref().map(|file| file.as_str());
            std::iter::once(artifact.file.as_str()).chain(challenger)
        })
    }

    /// Faults for maintenance.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    /// The file it was read from.
    pub fn source(&self) -> &Arc<Source> {
        &self.source
    }

    /// The raw shape, with places.
    pub fn raw(&self) -> &RawRecipe {
        &self.raw
    }
}

/// A forecast that the recipe asks for.
#[derive(Clone, Debug)]
pub(crate) struct ForecastUse {
    /// Parts ahead.
    pub(crate) ahead: u16,
    /// Ends of the tolerance, in the unit of the label that is predicted.
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
    /// Where it stands.
    pub(crate) span: Range<usize>,
}

/// A trained model that the recipe names, and what it takes it for.
#[derive(Clone, Debug)]
pub(crate) struct ArtifactUse {
    pub(crate) name: At<String>,
    pub(crate) file: At<String>,
    pub(crate) sha256: Option<At<String>>,
    /// Label that the model is held to.
    pub(crate) predicts: Option<CharacteristicId>,
    /// Whether loops step down when the model drifts; `None` leaves it to the artifact whether it is
    /// watched at all.
    pub(crate) on_drift: Option<bool>,
    /// Whether and how it is forecast.
    pub(crate) forecast: Option<ForecastUse>,
    /// Model that runs beside it.
    pub(crate) challenger: Option<At<String>>,
    pub(crate) challenger_sha256: Option<At<String>>,
    /// Monitor whose domain a soft sensor shares.
    pub(crate) domain: Option<ModelId>,
    /// Where it is taken for a monitor with T2 and SPE.
    pub(crate) as_monitor: Vec<Range<usize>>,
    /// Where it is taken for a soft sensor.
    pub(crate) as_sensor: Vec<Range<usize>>,
    /// Classes whose probability is watched, in the order in which clauses number them until the
    /// model is bound.
    pub(crate) classes: Vec<At<String>>,
}
