//! The curtain: it takes its time, and reports where it is on the way.
//!
//! Its target comes from writes (`control`, `percent_control`) and from the living room's button.

use super::Model;
use super::node::Node;
use super::world::{Cue, World};

/// A motorised curtain; 0 % is closed. The whole way takes 12 s.
pub(super) struct Curtain {
    /// Where it is, in 48ths of a percent: a step moves it by [`SPEED`].
    position: i64,
    /// Where it goes, in percent, while it moves.
    target: Option<i64>,
    /// Steps since it started.
    moving_steps: u32,
}

impl Curtain {
    pub(super) fn new() -> Self {
        Self {
            position: 100 * UNIT,
            target: None,
            moving_steps: 0,
        }
    }

    fn go(&mut self, node: &mut Node, target: i64) {
        node.set("percent_control", target);
        let (control, state) = if target * UNIT > self.position {
            ("open", "opening")
        } else if target * UNIT < self.position {
            ("close", "closing")
        } else {
            self.rest(node);
            return;
        };
        node.set("control", control);
        node.set("work_state", state);
        self.target = Some(target);
        self.moving_steps = 0;
    }

    /// Stops where it is; that is what it reports as its target from now on.
    fn stop(&mut self, node: &mut Node) {
        let percent = self.percent();
        self.position = percent * UNIT;
        node.set("percent_control", percent);
        self.rest(node);
    }

    fn rest(&mut self, node: &mut Node) {
        self.target = None;
        let percent = self.percent();
        node.set("percent_state", percent);
        node.set("work_state", "stopped");
        node.set(
            "situation_set",
            match percent {
                0 => "fully_close",
                100 => "fully_open",
                _ => "half_open",
            },
        );
    }

    fn percent(&self) -> i64 {
        self.position / UNIT
    }
}

impl Model for Curtain {
    fn written(&mut self, node: &mut Node, code: &str) {
        match code {
            "percent_control" => self.go(node, node.number("percent_control")),
            "control" if node.is("control", "open") => self.go(node, 100),
            "control" if node.is("control", "close") => self.go(node, 0),
            "control" => self.stop(node),
            _ => {}
        }
    }

    fn hear(&mut self, node: &mut Node, cue: Cue) {
        if cue == Cue::CurtainKey {
            let open = self.target.unwrap_or(self.percent()) >= 50;
            self.go(node, if open { 0 } else { 100 });
        }
    }

    fn load(&self, _node: &Node) -> i64 {
        if self.target.is_some() { 320 } else { 8 }
    }

    fn step(&mut self, node: &mut Node, _world: &mut World) {
        let Some(target) = self.target else { return };
        let way = target * UNIT - self.position;
        self.position += way.clamp(-SPEED, SPEED);
        self.moving_steps += 1;
        if self.position == target * UNIT {
            self.rest(node);
        } else if self.moving_steps.is_multiple_of(4) {
            node.set("percent_state", self.percent());
        }
    }
}

const UNIT: i64 = 48;
const SPEED: i64 = 100;
