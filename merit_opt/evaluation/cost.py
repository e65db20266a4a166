"""What an evaluation cost."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one evaluation, complete or curtailed.

    Attributes:
        switch: Seconds to change the weights.
        load: Seconds to bring the input of the first computed layer to the device.
        forward: Seconds of the layers and the head; on a GPU, of what they still waited for too.
        score: Seconds from log-probabilities to scores and bounds.
        questions: Samples answered, each once however many questions it became.
        questions_saved: Samples not asked, as the trial could no longer win.
        tokens: Rows put through the model, a shared prefix counted once.
        layers_skipped: Share, in [0, 1), of row-layers whose result was known.
        flops: Floating-point operations of the matrix products done.
        matrix_rate: FLOP/s of a large matrix product on the same device.
        peak_bytes: Most memory in use: the device's, of several the one's that used most, or on a
            CPU the process's so far; None where the system does not say.
        halved: Packs that had to be halved for want of memory.
    """

    switch: float
    load: float
    forward: float
    score: float
    questions: int
    questions_saved: int
    tokens: int
    layers_skipped: float
    flops: float
    matrix_rate: float
    peak_bytes: int | None
    halved: int

    @property
    def seconds(self) -> float:
        """Of all stages."""
        return self.switch + self.load + self.forward + self.score

    @property
    def flops_per_second(self) -> float:
        """Of load and forward together; 0 where nothing was done."""
        busy = self.load + self.forward
        return self.flops / busy if busy > 0 else 0.0

    @property
    def utilisation(self) -> float:
        """`flops_per_second` as a share of the matrix rate."""
        return self.flops_per_second / self.matrix_rate

    @property
    def numbers(self) -> dict[str, float]:
        """By short name, for a tracking table; what is not known is left out."""
        found = {
            "switch_seconds": self.switch,
            "load_seconds": self.load,
            "forward_seconds": self.forward,
            "score_seconds": self.score,
            "questions": float(self.questions),
            "questions_saved": float(self.questions_saved),
            "tokens": float(self.tokens),
            "layers_skipped": self.layers_skipped,
            "flops": self.flops,
            "flops_per_second": self.flops_per_second,
            "matrix_rate": self.matrix_rate,
            "utilisation": self.utilisation,
            "packs_halved": float(self.halved),
        }
        return found if self.peak_bytes is None else found | {"peak_bytes": float(self.peak_bytes)}
