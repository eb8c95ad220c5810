//! The machine: parts, input, quality, registers, contacts.

use alloc::vec;
use alloc::vec::Vec;

use super::super::faults::{Fault, Faults};
use super::super::plans::{
    self, AIR, AIR_CLOSED, DOOR, INPUT, INPUT_MEAN, LABEL_PART, LABEL_VALUE, PART, PRODUCING,
    PRODUCT, PRODUCT_OURS, STATE,
};
use super::super::rng::Rng;
use super::{Line, OwnedScan, World};
use crate::guard::ApprovedWrite;
use crate::plan::{CharacteristicId, Controller, Cut, Plan, PlcId};
use crate::scan::{Ack, AckResult, Command, Label};
use crate::tag::Value;
use crate::time::Mono;
use crate::unit::Ticks;

struct Apply {
    at: Mono,
    plc: PlcId,
    epoch: u64,
    setpoint: usize,
    to: Ticks,
}

pub(super) struct Press {
    part: i64,
    part_every: u32,
    part_left: u32,
    input_at: f64,
    frozen_for: u32,
    /// What quality is off by at the baseline.
    offset: f64,
    swing: f64,
    /// `[setpoints]` true gain [qu per setpoint unit].
    gains: Vec<f64>,
    /// Labels under way: scans left, part, value.
    labels: Vec<(u32, i64, f64)>,
    label_delay: u32,
    /// `[setpoints]` what each register holds.
    pub(super) registers: Vec<Ticks>,
    /// `[setpoints]` how far beside that an operator has turned it [ticks].
    pub(super) beside: Vec<f64>,
    applies: Vec<Apply>,
    answers: Vec<(u64, Ack)>,
    last_write: u64,
    contacts_back_in: u32,
}

impl Press {
    pub(super) fn new(plan: &Plan, rng: &mut Rng, faults: Faults) -> Self {
        let mut gains = vec![0.0; plan.setpoints.len()];
        for of in &plan.loops {
            if let Controller::RunToRun(c1) = &of.controller {
                let right = rng.pick(&[0.5, 1.0, 1.2]);
                let wrong = rng.pick(&[0.0, -0.5, 0.0]);
                let share = if faults.has(Fault::WrongGain) { wrong } else { right };
                gains[of.setpoint.index()] = c1.gain * share;
            }
        }
        let part_every = u32::try_from(rng.range(1, 5)).unwrap();
        Self {
            part: 100,
            part_every,
            part_left: part_every,
            input_at: INPUT_MEAN,
            frozen_for: 0,
            offset: rng.noise() * 3.0,
            swing: 0.0,
            gains,
            labels: Vec::new(),
            label_delay: u32::try_from(rng.range(0, 8)).unwrap(),
            registers: plan.setpoints.iter().map(|s| s.baseline).collect(),
            beside: vec![0.0; plan.setpoints.len()],
            applies: Vec::new(),
            answers: Vec::new(),
            last_write: 0,
            contacts_back_in: 0,
        }
    }

    fn apply(&mut self, now: Mono, lines: &[Line]) {
        let (registers, beside) = (&mut self.registers, &mut self.beside);
        self.applies.retain(|a| {
            // A write of a dead session may still get through once in a while.
            let alive = a.epoch == lines[a.plc.index()].link.epoch || a.at.as_nanos() % 2 == 0;
            if a.at <= now && alive {
                registers[a.setpoint] = a.to;
                beside[a.setpoint] = 0.0;
            }
            a.at > now
        });
    }
}

impl World {
    pub(super) fn init_press(&mut self) {
        self.set(PART, Value::Int(self.press.part));
        self.contacts_good();
        self.set(INPUT, Value::Float(INPUT_MEAN));
        self.set(LABEL_PART, Value::Int(0));
        self.set(LABEL_VALUE, Value::Float(10.0));
        for index in 0..self.plan.setpoints.len() {
            self.show_register(index);
            let base = self.plan.setpoints[index].baseline.count() as f64;
            self.show_range(index, base - 60.0, base + 60.0);
        }
    }

    fn contacts_good(&mut self) {
        for plc in 0..self.lines.len() {
            let [enable, _, _] = plans::own_tags(&self.plan, plc);
            self.set(enable, Value::Bool(true));
        }
        self.set(PRODUCT, Value::Int(PRODUCT_OURS));
        self.set(STATE, Value::Int(PRODUCING));
        self.set(DOOR, Value::Bool(true));
        self.set(AIR, Value::Float(AIR_CLOSED + 2.0));
    }

    pub(super) fn run_press(&mut self) {
        let now = self.mono();
        self.press.apply(now, &self.lines);
        self.turn_registers();
        for index in 0..self.plan.setpoints.len() {
            self.show_register(index);
        }
        self.move_plc_limits();
        self.move_contacts();
        self.move_input();
        self.press.part_left = self.press.part_left.saturating_sub(1);
        if self.press.part_left == 0 {
            self.end_part();
        }
        self.deliver_label();
    }

    fn turn_registers(&mut self) {
        let index = self.rng.below(self.plan.setpoints.len());
        let limits = &self.plan.setpoints[index];
        let (low, high) = (limits.low.count(), limits.high.count());
        let (base, trim) = (limits.baseline.count(), limits.trim_max.count());
        let wide = self.rng.range(low - 2, high + 2);
        let near = self.rng.range(base - trim - 2, base + trim + 2);
        let to = self.rng.pick(&[wide, wide, near, base]);
        let beside = self.rng.pick(&[0.0, 0.0, 0.0, 0.3, -0.4]);
        if self.strikes(Fault::Operator, 12) {
            self.press.registers[index] = Ticks::new(to);
            self.press.beside[index] = beside;
        }
    }

    fn move_plc_limits(&mut self) {
        let index = self.rng.below(self.plan.setpoints.len());
        let limits = &self.plan.setpoints[index];
        let at = self.press.registers[index].count();
        let base = limits.baseline.count();
        let (below, above) = (self.rng.range(0, 9), self.rng.range(0, 9));
        let off_grid = self.rng.pick(&[0.0, 0.3, -0.3]);
        let (low, high) = self.rng.pick(&[
            (base - 60, base + 60),
            (base - 60, base + 60),
            (at - below, at + above),
            (base - below, base + above),
            (at + 1 + below, at - 1 - above),
        ]);
        if self.strikes(Fault::PlcLimits, 40) {
            self.show_range(index, low as f64 + off_grid, high as f64 - off_grid);
        }
    }

    fn move_contacts(&mut self) {
        let press = &mut self.press;
        if press.contacts_back_in > 0 {
            press.contacts_back_in -= 1;
            if press.contacts_back_in == 0 {
                self.contacts_good();
            }
        }
        let back_in = u32::try_from(self.rng.range(1, 12)).unwrap();
        let air = self.rng.chance(400);
        let stop = self.rng.chance(500);
        let mut moved = false;
        for plc in 0..self.lines.len() {
            if self.strikes(Fault::EnableOff, 12) {
                let [enable, _, _] = plans::own_tags(&self.plan, plc);
                self.set(enable, Value::Bool(false));
                moved = true;
            }
        }
        if self.strikes(Fault::Interlock, 12) {
            if air {
                self.set(AIR, Value::Float(AIR_CLOSED - 1.0));
            } else {
                self.set(DOOR, Value::Bool(false));
            }
            moved = true;
        }
        if self.strikes(Fault::Unbound, 8) {
            if stop {
                self.set(STATE, Value::Int(3));
            } else {
                self.set(PRODUCT, Value::Int(2));
            }
            moved = true;
        }
        if moved {
            self.press.contacts_back_in = back_in;
        }
    }

    fn move_input(&mut self) {
        let level = self.rng.pick(&[0.0, 0.0, 15.0, -15.0, 20.0, 32.0, 48.0]);
        if self.rng.chance(25) {
            self.press.input_at = INPUT_MEAN + level;
        }
        let frozen_for = u32::try_from(self.rng.range(10, 40)).unwrap();
        if self.strikes(Fault::Frozen, 8) {
            self.press.frozen_for = frozen_for;
        }
        let noise = self.rng.noise() * 3.0;
        self.press.frozen_for = self.press.frozen_for.saturating_sub(1);
        if self.press.frozen_for == 0 {
            self.set(INPUT, Value::Float(self.press.input_at + noise));
        }
    }

    fn end_part(&mut self) {
        let by = if self.rng.chance(20) { self.rng.pick(&[0, 2, -3]) } else { 1 };
        let press = &mut self.press;
        press.part_left = press.part_every;
        let mut trims = 0.0;
        for (limits, (at, gain)) in
            self.plan.setpoints.iter().zip(press.registers.iter().zip(&press.gains))
        {
            trims += gain * limits.grid.value(*at - limits.baseline);
        }
        let input = self.value[INPUT.index()].as_f64();
        let offset = self.rng.noise() * self.rng.pick(&[2.0, 4.0, 8.0]);
        if self.rng.chance(25) {
            self.press.offset = offset;
        }
        if self.faults.has(Fault::Swing) {
            self.press.swing = if self.press.swing > 0.0 { -2.5 } else { 2.5 };
        }
        let press = &mut self.press;
        let forward = 0.1 * (input - INPUT_MEAN);
        let noise = self.rng.noise() * 0.1;
        let y = 10.0 + press.offset + press.swing + forward + trims + noise;
        let named = match self.plan.cycle.cut {
            Cut::Started(_) => press.part,
            Cut::Finished(_) => press.part + by,
            // Time cuts are numbered from 1; nobody here knows the number exactly.
            Cut::Every(_) => (self.mono_ms - 1_000) / 300 - 1,
        };
        press.part += by;
        press.labels.push((press.label_delay, named, y));
        if press.labels.len() > 40 {
            press.labels.remove(0);
        }
        let part = press.part;
        self.set(PART, Value::Int(part));
    }

    fn deliver_label(&mut self) {
        for label in &mut self.press.labels {
            label.0 = label.0.saturating_sub(1);
        }
        let lost = self.rng.chance(100);
        if self.press.labels.first().is_none_or(|l| l.0 > 0) {
            return;
        }
        let (_, part, value) = self.press.labels.remove(0);
        if lost {
            return;
        }
        self.set(LABEL_VALUE, Value::Float(value));
        self.set(LABEL_PART, Value::Int(part));
        if self.rng.chance(200) {
            self.people.tell(Label { part, characteristic: CharacteristicId(0), value });
        }
    }

    pub(super) fn take_write(&mut self, write: &ApprovedWrite) {
        let setpoint = write.setpoint().index();
        let confirm_ms = self.plan.setpoints[setpoint].confirm.as_millis();
        let mut to = write.to();
        let mut takes_ms = Some(self.rng.range(0, 120));
        let mut result = Some(AckResult::Good);
        let gets_through = self.rng.chance(500);
        let late = self.rng.range(10, 2 * confirm_ms);
        if self.strikes(Fault::Refused, 250) {
            result = Some(AckResult::Refused(0x803B_0000));
            takes_ms = None;
        }
        if self.strikes(Fault::NotSent, 250) {
            result = Some(if gets_through { AckResult::Unknown } else { AckResult::NotSent });
            takes_ms = takes_ms.filter(|_| gets_through && late % 2 == 0);
        }
        if self.strikes(Fault::NoAnswer, 250) {
            result = None;
            takes_ms = takes_ms.filter(|_| gets_through);
        }
        if self.strikes(Fault::Ignored, 300) {
            takes_ms = None;
        }
        let half = Ticks::new(i64::midpoint(write.from().count(), to.count()));
        if self.strikes(Fault::Clamped, 850) {
            let one = Ticks::new((to - write.from()).count().signum());
            to = if gets_through { half } else { write.from() + one };
        }
        if self.strikes(Fault::AppliedLate, 300) {
            takes_ms = takes_ms.map(|_| confirm_ms + late);
        }
        self.press.last_write = write.seq();
        if let Some(ms) = takes_ms {
            let at = self.later(ms);
            self.press.applies.push(Apply {
                at,
                plc: write.plc(),
                epoch: write.epoch(),
                setpoint,
                to,
            });
        }
        let in_scans = self.rng.pick(&[1, 1, 1, 2, 3]);
        if let Some(result) = result {
            let ack = Ack { write: write.seq(), result, at: self.mono() };
            self.press.answers.push((self.seq + in_scans, ack));
        }
    }

    pub(super) fn answer_writes(&mut self, out: &mut OwnedScan) {
        let seq = self.seq;
        self.press.answers.retain(|(at, ack)| {
            if *at <= seq {
                out.acks.push(*ack);
            }
            *at > seq
        });
        let result = self.rng.pick(&[
            AckResult::Good,
            AckResult::Refused(1),
            AckResult::NotSent,
            AckResult::Unknown,
        ]);
        let of = self.rng.pick(&[0, 1, 2, 9]);
        if self.strikes(Fault::ForeignAnswer, 40) {
            let write = self.press.last_write.wrapping_sub(1).wrapping_add(of);
            out.acks.push(Ack { write, result, at: self.mono() });
        }
    }
}

impl super::people::People {
    fn tell(&mut self, label: Label) {
        self.queue.push(Command::Label(label));
    }
}
