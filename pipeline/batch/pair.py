"""What a device model and the pair that it makes with a cloud model end with."""

from pipeline.device.description import Description
from pipeline.outcomes import CurrentModel, DeviceOutcome
from pipeline.quality import pair_gate, release_gate
from pipeline.quality.pair_gate import Agreement, DeviceFile, PairRequirements
from pipeline.quality.release_gate import Requirements, Tallies


def device_outcome(
    tallies: Tallies,
    agreement: Agreement,
    file: DeviceFile,
    shipped: Description,
    alone: Requirements,
    together: PairRequirements,
    current: str,
) -> DeviceOutcome:
    """Decides about a device model: `alone` is what it needs by itself, `together` what the pair needs.

    `tallies` are the device model's, beside the one of the release `current` unless that is "".
    """
    verdict = release_gate.decide(tallies, alone, current)
    reasons = [f"device model: {reason}" for reason in verdict.reasons]
    reasons += [f"pair: {reason}" for reason in pair_gate.reasons(agreement, file, together)]
    return DeviceOutcome(
        blessed=not reasons,
        reasons=tuple(reasons),
        metrics=tallies.metrics(),
        current=CurrentModel(current, tallies.metrics(current=True)) if current else None,
        slices=verdict.slices,
        labels=shipped.labels,
        input=shipped.input.to_json(),
        quantization=shipped.quantization,
        bytes=file.bytes,
        milliseconds=file.milliseconds,
        machine=file.machine,
        agreement=agreement.share,
        agreement_interval=agreement.interval,
        escalation=agreement.escalation,
    )
