"""The options of a training run, each declared once: values, defaults, explanation.

The options of the commands, a sweep's file, the check of a resumed run's config.json and
docs/options.md are made from this table.  To add an option, add an entry to `TrainingOptions`, and
use it.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from ..evaluation import BEST_BY
from ..formats.pretrained import SHIPPED
from ..input_spec import SCALINGS
from ..losses import Loss
from ..models.face_networks import FACE_NETWORKS, MICROEXPNET
from ..models.microexpnet import SIZES, VARIANTS
from ..optim import OPTIMIZERS
from .class_weights import NONE, ClassWeights
from .losses_and_schedules import LOSSES, NO_TEACHER, SCHEDULES, make_loss
from .option import FINETUNE as FINETUNE
from .option import GROUPS as GROUPS
from .option import NOT_GIVEN_BY_USERS as NOT_GIVEN_BY_USERS
from .option import RECIPES as RECIPES
from .option import Option, option
from .starting_weights import (
    NEW_WEIGHTS,
    ContentHash,
    LayerNameOrCount,
    StartingWeights,
    options_with_start,
)
from .values import (
    ABOVE_ZERO,
    NameOrCount,
    Number,
    OneOf,
    OneOrSeveral,
    WholeNumber,
    YesOrNo,
)

OF_MICROEXPNET = ("variant", "size", "bias_std")
"""Options that other networks do not have; they then keep their defaults."""


@dataclass(frozen=True, init=False)
class TrainingOptions:
    """What a training run computes, but for its data.

    TrainingOptions(recipe="best", epochs=30): options that are not given, or None, have the
    recipe's values.  An option has its proper type: 4 becomes 4.0 where a number is expected.
    Raises ValueError for unknown options, values that an option cannot have, and options that do
    not fit together.

    With `init`, the options OF_THE_START have the values of that network; network, variant and size
    are None if it is none of ours.  init_sha256: its content; a stored one is kept, and
    `TrainingRun` compares it.
    """

    init: str = option(
        "network",
        StartingWeights(),
        f"the weights to start from. {NEW_WEIGHTS}: new ones; {', '.join(SHIPPED)}: those that "
        "come with this package; or a model file, whose layers and scaling are then used. Classes "
        "that it knows keep their weights",
        NEW_WEIGHTS,
    )
    freeze: str | int = option(
        "network",
        LayerNameOrCount(),
        "with init: how many of the first layers with weights keep them, or the name of the last "
        "of these; their BatchNorm keeps its statistics",
        0,
    )
    first_layers_rate: float = option(
        "training",
        Number(1),
        "with init: the layers before the last one learn with this factor of the learning rate",
        fer=1.0,
        best=1.0,
        finetune=0.1,
        paper=1.0,
    )
    init_sha256: str | None = option(
        NOT_GIVEN_BY_USERS, ContentHash(), "of the weights to start from"
    )
    init_px: int | None = option(NOT_GIVEN_BY_USERS, WholeNumber(1), "side of its images")
    network: str | None = option(
        "network",
        OneOf(tuple(FACE_NETWORKS)),
        "microexpnet: the paper's, of 84x84 images; residual48: more accurate, of 48x48 images, "
        "with 56,040 parameters; residual48-large: the same with 831,752 parameters, as a teacher",
        MICROEXPNET,
    )
    variant: str | None = option(
        "network",
        OneOf(tuple(VARIANTS)),
        "of microexpnet: which convolutions are followed by a pooling: v neither, p1 the first, p2 "
        "the second, p12 both",
        "p12",
    )
    size: str | int | None = option(
        "network",
        NameOrCount(SIZES, "units"),
        f"of microexpnet: size of the first dense layer: {', '.join(SIZES)}, or its number of "
        "units; variant p12 with size XXS is MicroExpNet",
        "XXS",
    )
    batch_norm: bool = option(
        "network",
        YesOrNo(),
        "BatchNorm behind each convolution and the first dense layer while training; it is folded "
        "into these layers in the trained model",
        fer=True,
        best=True,
        finetune=True,
        paper=False,
    )
    scaling: str = option(
        "network",
        OneOf(SCALINGS),
        "of the pixels. raw: 0 to 255; unit: 0 to 1; standardized: each image has mean 0 and "
        "deviation 1",
        fer="standardized",
        best="standardized",
        finetune="standardized",
        paper="raw",
    )
    bias_std: float = option(
        "network",
        Number(100),
        "of microexpnet: standard deviation of the initial biases",
        fer=0.0,
        best=0.0,
        finetune=0.0,
        paper=0.5,
    )
    loss: str = option(
        "distillation",
        OneOf((NO_TEACHER, *LOSSES)),
        "the soft term. none: no teacher; kd: Hinton's distillation; dkd: decoupled; dist: "
        "relational; -z: on logits standardized to mean 0 and deviation 1",
        "kd",
    )
    temperature: float | tuple[float, ...] | None = option(
        "distillation",
        OneOrSeveral(ABOVE_ZERO),
        "t: logits of teacher and student are divided by it; kd may have several, over which the "
        "soft term is averaged",
        fer=4.0,
        best=4.0,
        finetune=4.0,
        paper=8.0,
    )
    soft_weight: float | None = option(
        "distillation",
        Number(1),
        "w: weight of the soft term",
        fer=0.7,
        best=0.7,
        finetune=0.7,
        paper=0.5,
    )
    loss_scale: str | None = option(
        "distillation",
        OneOf(("paper", "hinton")),
        "c, a factor of the soft term of kd: paper 1, hinton t*t",
        fer="hinton",
        best="hinton",
        finetune="hinton",
        paper="paper",
    )
    seed: int = option(
        "run",
        WholeNumber(0),
        "seed of the weights, the order of the images and the augmentation; the same seed gives "
        "the same results, bit for bit",
        0,
    )
    recipe: str = option(
        "training",
        OneOf(tuple(RECIPES)),
        "the defaults of all other options. "
        + "; ".join(f"{name}: {meaning}" for name, meaning in RECIPES.items()),
        "fer",
    )
    epochs: int = option(
        "training",
        WholeNumber(1),
        "passes over the training images",
        fer=25,
        best=150,
        finetune=60,
        paper=3000,
    )
    # With a teacher 5e-3 is clearly better than 2e-3, without one slightly worse.  The rate is the
    # same for both, so that only the teacher makes a difference between two runs.
    learning_rate: float = option(
        "training",
        ABOVE_ZERO,
        "highest learning rate of the schedule",
        fer=5e-3,
        best=5e-3,
        finetune=5e-3,
        paper=1e-4,
    )
    batch_size: int = option("training", WholeNumber(1), "images per training step", 64)
    optimizer: str = option(
        "training",
        OneOf(tuple(OPTIMIZERS)),
        "update rule",
        fer="adamw",
        best="adamw",
        finetune="adamw",
        paper="adam",
    )
    schedule: str = option(
        "training",
        OneOf(tuple(SCHEDULES)),
        "how the learning rate changes over the run",
        fer="one-cycle",
        best="one-cycle",
        finetune="one-cycle",
        paper="constant",
    )
    best_by: str = option(
        "training",
        OneOf(BEST_BY),
        "the epoch whose network is kept: the one with the highest accuracy on the validation "
        "images, or with the lowest loss, which says more of few images",
        fer="accuracy",
        best="accuracy",
        finetune="loss",
        paper="accuracy",
    )
    patience: int | None = option(
        "training",
        WholeNumber(1),
        "stop after N epochs without a new best",
        no_value="train all epochs",
    )
    augment: bool = option(
        "training",
        YesOrNo(),
        "shift, rotate, scale and mirror each image in every epoch",
        fer=True,
        best=True,
        finetune=True,
        paper=False,
    )
    # `best` has half the augmentation: a network of 65,000 parameters does not fit its training
    # images better than others, so it needs less.
    augment_strength: float = option(
        "training",
        Number(9),
        "how much the augmentation shifts, rotates and scales: a factor of 5 px, 10 degrees, 10 %",
        fer=1.0,
        best=0.5,
        finetune=1.0,
        paper=1.0,
    )
    mixup: float = option(
        "training",
        Number(100),
        "a of Beta(a, a): blend pairs of images, and their targets likewise; 0: do not",
        0.0,
    )
    cutmix: float = option(
        "training",
        Number(100),
        "a of Beta(a, a): paste a box of one image into another, and mix their targets likewise; "
        "0: do not",
        0.0,
    )
    label_smoothing: float = option(
        "training", Number(0.9), "this share of each target is spread over all classes", 0.0
    )
    dropout: float = option(
        "training",
        Number(0.9),
        "share of the last dense layer's inputs that each training step sets to 0",
        0.0,
    )
    ema_decay: float = option(
        "training",
        Number(0.99999),
        "above 0: score and save the average of the weights over 1/(1-X) steps",
        0.0,
    )
    clip_norm: float = option(
        "training",
        Number(1e6),
        "above 0: gradients with a larger norm are scaled down to this norm",
        0.0,
    )
    class_weights: str = option(
        "training",
        ClassWeights(),
        "the loss of an image is multiplied by the weight of its class. balanced: weights with "
        "which all classes count equally; fear=2,disgust=4.5: these weights, 1 for the other "
        "classes",
        NONE,
    )
    flipped_teacher: bool = option(
        "distillation",
        YesOrNo(),
        "give images that the augmentation mirrors the teacher's logits for the mirror image",
        False,
    )

    def __init__(self, **given: object) -> None:
        table = option_table(type(self))
        for name in given:
            if name not in table:
                raise ValueError(f"no option {name!r}; expected some of {', '.join(sorted(table))}")
        recipe = given.get("recipe")
        if recipe is None:
            recipe = "fer" if given.get("init") in (None, NEW_WEIGHTS) else FINETUNE
        recipe = table["recipe"].check("recipe", recipe)
        given = {**given, "recipe": recipe}
        for name, entry in table.items():
            value = given.get(name)
            value = entry.defaults[str(recipe)] if value is None else value
            self._set(name, None if value is None else entry.check(name, value))
        values = {f.name: getattr(self, f.name) for f in fields(TrainingOptions)}
        for name, value in options_with_start(values, given).items():
            self._set(name, value)
        if self.init == NEW_WEIGHTS and self.network != MICROEXPNET:
            for name in OF_MICROEXPNET:
                default = table[name].defaults[self.recipe]
                if getattr(self, name) != default:
                    raise ValueError(f"{name} is an option of microexpnet, not of {self.network}")
        self.loss_function()  # raises ValueError for options of the loss that do not fit together

    def _set(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def input_px(self) -> int:
        """The side of the images that the network takes."""
        if self.init_px is not None:
            return self.init_px
        assert self.network is not None
        return FACE_NETWORKS[self.network].input_px

    @property
    def has_teacher(self) -> bool:
        return self.loss != NO_TEACHER

    def without_teacher(self) -> TrainingOptions:
        """The same options with the loss that needs no teacher."""
        return replace(self, loss=NO_TEACHER)

    def loss_function(self, class_weights: tuple[float, ...] = ()) -> Loss:
        return make_loss(
            self.loss,
            self.temperature,
            self.soft_weight,
            self.loss_scale,
            self.label_smoothing,
            class_weights,
        )


def option_table(kind: type[TrainingOptions] = TrainingOptions) -> dict[str, Option]:
    """The options of TrainingOptions, or of a class derived from it, by name."""
    return {f.name: f.metadata["option"] for f in fields(kind)}
