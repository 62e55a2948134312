//! What people hold in their hands: a scene button with two keys, and an infrared remote.
//!
//! Presses come by chance and go to the living room's light and curtain as cues of [`World`]. The
//! infrared remote has the home's write-only data point: nobody can know what a sent code did.

use super::Model;
use super::node::Node;
use super::timer::Timer;
use super::world::{Cue, World};

/// What people do with the button.
#[derive(Clone, Copy)]
enum Press {
    LightTwice,
    Scene,
    Curtain,
    Nothing,
}

/// A scene button. Its events matter, not its values: a second, equal press is reported again.
///
/// Presses are drawn from a shuffled set, so that each kind occurs within a few of them.
pub(super) struct Button {
    pause: Timer,
    /// What is left of the set.
    presses: Vec<Press>,
    again: Timer,
}

impl Button {
    pub(super) fn new(world: &mut World) -> Self {
        Self {
            pause: Timer::of(world.between(15, 30)),
            presses: Vec::new(),
            again: Timer::idle(),
        }
    }

    fn draw(&mut self, world: &mut World) -> Option<Press> {
        if self.presses.is_empty() {
            self.presses = PRESSES.to_vec();
            world.shuffle(&mut self.presses);
        }
        self.presses.pop()
    }
}

impl Model for Button {
    fn step(&mut self, node: &mut Node, world: &mut World) {
        if self.again.step() {
            node.report("switch_mode1", "single_click");
            world.tell(Cue::LightKey);
        }
        if !self.pause.step() {
            return;
        }
        match self.draw(world) {
            Some(Press::LightTwice) => {
                node.report("switch_mode1", "single_click");
                world.tell(Cue::LightKey);
                self.again = Timer::of(world.between(3, 6));
            }
            Some(Press::Scene) => {
                node.report("switch_mode1", "double_click");
                world.tell(Cue::SceneKey);
            }
            Some(Press::Curtain) => {
                node.report("switch_mode2", "single_click");
                world.tell(Cue::CurtainKey);
            }
            Some(Press::Nothing) | None => node.report("switch_mode2", "long_press"),
        }
        self.pause = Timer::of(world.between(35, 90));
    }
}

/// An infrared remote: `ir_send` sends a code, `control` makes it learn one.
pub(super) struct InfraredRemote {
    study: Timer,
}

impl InfraredRemote {
    pub(super) fn new() -> Self {
        Self {
            study: Timer::idle(),
        }
    }
}

impl Model for InfraredRemote {
    fn written(&mut self, node: &mut Node, code: &str) {
        if code == "control" {
            self.study = if node.is("control", "study") {
                Timer::of(STUDY_MS)
            } else {
                Timer::idle()
            };
        }
    }

    fn step(&mut self, node: &mut Node, world: &mut World) {
        if self.study.step() {
            let learnt: String = (0..12)
                .map(|_| format!("{:02x}", world.pick(256)))
                .collect();
            node.set("ir_study_code", learnt.as_str());
            node.set("control", "study_exit");
        }
    }
}

const PRESSES: [Press; 5] = [
    Press::LightTwice,
    Press::Scene,
    Press::Curtain,
    Press::Curtain,
    Press::Nothing,
];
/// How long somebody takes to press the key that is learnt.
const STUDY_MS: u64 = 4000;
