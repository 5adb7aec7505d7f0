"""Optimizers, one file per kernel family."""

from typing import TYPE_CHECKING

from gradxform._lazy import attach
from gradxform._optax_names import ONCE_OPTIMIZERS

if TYPE_CHECKING:
    from gradxform.optimizers._acprop import acprop as acprop
    from gradxform.optimizers._acprop import scale_by_acprop as scale_by_acprop
    from gradxform.optimizers._adabelief import ScaleByBeliefState as ScaleByBeliefState
    from gradxform.optimizers._adabelief import adabelief as adabelief
    from gradxform.optimizers._adabelief import scale_by_belief as scale_by_belief
    from gradxform.optimizers._adadelta import ScaleByAdaDeltaState as ScaleByAdaDeltaState
    from gradxform.optimizers._adadelta import adadelta as adadelta
    from gradxform.optimizers._adadelta import scale_by_adadelta as scale_by_adadelta
    from gradxform.optimizers._adafactor import FactoredState as FactoredState
    from gradxform.optimizers._adafactor import adafactor as adafactor
    from gradxform.optimizers._adafactor import scale_by_factored_rms as scale_by_factored_rms
    from gradxform.optimizers._adagrad import adagrad as adagrad
    from gradxform.optimizers._adahessian import ScaleByAdahessianState as ScaleByAdahessianState
    from gradxform.optimizers._adahessian import adahessian as adahessian
    from gradxform.optimizers._adahessian import scale_by_adahessian as scale_by_adahessian
    from gradxform.optimizers._adam import ScaleByAdamState as ScaleByAdamState
    from gradxform.optimizers._adam import ScaleByNadamState as ScaleByNadamState
    from gradxform.optimizers._adam import adam as adam
    from gradxform.optimizers._adam import adamw as adamw
    from gradxform.optimizers._adam import nadam as nadam
    from gradxform.optimizers._adam import nadamw as nadamw
    from gradxform.optimizers._adam import scale_by_adam as scale_by_adam
    from gradxform.optimizers._adam import scale_by_nadam as scale_by_nadam
    from gradxform.optimizers._adam_mini import ScaleByAdamMiniState as ScaleByAdamMiniState
    from gradxform.optimizers._adam_mini import adam_mini as adam_mini
    from gradxform.optimizers._adam_mini import scale_by_adam_mini as scale_by_adam_mini
    from gradxform.optimizers._adamax import adamax as adamax
    from gradxform.optimizers._adamax import adamaxw as adamaxw
    from gradxform.optimizers._adamax import maxaprop as maxaprop
    from gradxform.optimizers._adamax import nadamax as nadamax
    from gradxform.optimizers._adamax import scale_by_adamax as scale_by_adamax
    from gradxform.optimizers._adamax import scale_by_nadamax as scale_by_nadamax
    from gradxform.optimizers._adamp import adamp as adamp
    from gradxform.optimizers._adamp import scale_by_adamp as scale_by_adamp
    from gradxform.optimizers._adamuon import AdaMuonState as AdaMuonState
    from gradxform.optimizers._adamuon import adamuon as adamuon
    from gradxform.optimizers._adamuon import scale_by_adamuon as scale_by_adamuon
    from gradxform.optimizers._adan import ScaleByAdanState as ScaleByAdanState
    from gradxform.optimizers._adan import adan as adan
    from gradxform.optimizers._adan import scale_by_adan as scale_by_adan
    from gradxform.optimizers._ademamix import ScaleByAdemamixState as ScaleByAdemamixState
    from gradxform.optimizers._ademamix import ScaleBySimplifiedAdEMAMixState as ScaleBySimplifiedAdEMAMixState
    from gradxform.optimizers._ademamix import ademamix as ademamix
    from gradxform.optimizers._ademamix import scale_by_ademamix as scale_by_ademamix
    from gradxform.optimizers._ademamix import scale_by_simplified_ademamix as scale_by_simplified_ademamix
    from gradxform.optimizers._ademamix import simplified_ademamix as simplified_ademamix
    from gradxform.optimizers._adopt import adopt as adopt
    from gradxform.optimizers._adopt import scale_by_adopt as scale_by_adopt
    from gradxform.optimizers._aggmo import ScaleByAggMoState as ScaleByAggMoState
    from gradxform.optimizers._aggmo import aggmo as aggmo
    from gradxform.optimizers._aggmo import scale_by_aggmo as scale_by_aggmo
    from gradxform.optimizers._amsgrad import ScaleByAmsgradState as ScaleByAmsgradState
    from gradxform.optimizers._amsgrad import amsgrad as amsgrad
    from gradxform.optimizers._amsgrad import scale_by_amsgrad as scale_by_amsgrad
    from gradxform.optimizers._ano import ano as ano
    from gradxform.optimizers._ano import scale_by_ano as scale_by_ano
    from gradxform.optimizers._apollo import ApolloState as ApolloState
    from gradxform.optimizers._apollo import apollo as apollo
    from gradxform.optimizers._apollo import apollo_mini as apollo_mini
    from gradxform.optimizers._apollo import scale_by_apollo as scale_by_apollo
    from gradxform.optimizers._asgo import AsgoState as AsgoState
    from gradxform.optimizers._asgo import asgo as asgo
    from gradxform.optimizers._asgo import scale_by_asgo as scale_by_asgo
    from gradxform.optimizers._came import ScaleByCameState as ScaleByCameState
    from gradxform.optimizers._came import came as came
    from gradxform.optimizers._came import scale_by_came as scale_by_came
    from gradxform.optimizers._cocob import COCOBState as COCOBState
    from gradxform.optimizers._cocob import cocob as cocob
    from gradxform.optimizers._cocob import scale_by_cocob as scale_by_cocob
    from gradxform.optimizers._dadaptation import DAdaptAdamWState as DAdaptAdamWState
    from gradxform.optimizers._dadaptation import ProdigyState as ProdigyState
    from gradxform.optimizers._dadaptation import dadapt_adamw as dadapt_adamw
    from gradxform.optimizers._dadaptation import prodigy as prodigy
    from gradxform.optimizers._dcasgd import CompensateDelayState as CompensateDelayState
    from gradxform.optimizers._dcasgd import compensate_delay as compensate_delay
    from gradxform.optimizers._dcasgd import dcasgd as dcasgd
    from gradxform.optimizers._dion import DionState as DionState
    from gradxform.optimizers._dion import dion as dion
    from gradxform.optimizers._dion import scale_by_dion as scale_by_dion
    from gradxform.optimizers._dion2 import Dion2State as Dion2State
    from gradxform.optimizers._dion2 import dion2 as dion2
    from gradxform.optimizers._dion2 import scale_by_dion2 as scale_by_dion2
    from gradxform.optimizers._distance import ScaleByDistanceOverGradientsState as ScaleByDistanceOverGradientsState
    from gradxform.optimizers._distance import scale_by_distance_over_gradients as scale_by_distance_over_gradients
    from gradxform.optimizers._dog import DoGState as DoGState
    from gradxform.optimizers._dog import DoWGState as DoWGState
    from gradxform.optimizers._dog import dog as dog
    from gradxform.optimizers._dog import dowg as dowg
    from gradxform.optimizers._dog import scale_by_dog as scale_by_dog
    from gradxform.optimizers._dog import scale_by_dowg as scale_by_dowg
    from gradxform.optimizers._dpsgd import dpsgd as dpsgd
    from gradxform.optimizers._fromage import fromage as fromage
    from gradxform.optimizers._ftml import ftml as ftml
    from gradxform.optimizers._ftrl import FtrlState as FtrlState
    from gradxform.optimizers._ftrl import ftrl as ftrl
    from gradxform.optimizers._galore import GaLoreDimensionNumbers as GaLoreDimensionNumbers
    from gradxform.optimizers._galore import GaLoreState as GaLoreState
    from gradxform.optimizers._galore import galore as galore
    from gradxform.optimizers._galore import scale_by_galore as scale_by_galore
    from gradxform.optimizers._grams import grams as grams
    from gradxform.optimizers._grams import scale_by_grams as scale_by_grams
    from gradxform.optimizers._group_adagrad import ScaleByRowRssState as ScaleByRowRssState
    from gradxform.optimizers._group_adagrad import group_adagrad as group_adagrad
    from gradxform.optimizers._group_adagrad import scale_by_row_rss as scale_by_row_rss
    from gradxform.optimizers._kl_shampoo import KlShampooState as KlShampooState
    from gradxform.optimizers._kl_shampoo import kl_shampoo as kl_shampoo
    from gradxform.optimizers._kl_shampoo import scale_by_kl_shampoo as scale_by_kl_shampoo
    from gradxform.optimizers._kl_soap import KlSoapState as KlSoapState
    from gradxform.optimizers._kl_soap import kl_soap as kl_soap
    from gradxform.optimizers._kl_soap import scale_by_kl_soap as scale_by_kl_soap
    from gradxform.optimizers._lamb import lamb as lamb
    from gradxform.optimizers._lans import ScaleByLansState as ScaleByLansState
    from gradxform.optimizers._lans import lans as lans
    from gradxform.optimizers._lans import scale_by_lans as scale_by_lans
    from gradxform.optimizers._laprop import ScaleByLaPropState as ScaleByLaPropState
    from gradxform.optimizers._laprop import laprop as laprop
    from gradxform.optimizers._laprop import scale_by_laprop as scale_by_laprop
    from gradxform.optimizers._lars import lars as lars
    from gradxform.optimizers._lbfgs import ScaleByLBFGSState as ScaleByLBFGSState
    from gradxform.optimizers._lbfgs import lbfgs as lbfgs
    from gradxform.optimizers._lbfgs import scale_by_lbfgs as scale_by_lbfgs
    from gradxform.optimizers._lion import ScaleByLionState as ScaleByLionState
    from gradxform.optimizers._lion import lion as lion
    from gradxform.optimizers._lion import scale_by_lion as scale_by_lion
    from gradxform.optimizers._madgrad import MadgradState as MadgradState
    from gradxform.optimizers._madgrad import madgrad as madgrad
    from gradxform.optimizers._madgrad import scale_by_madgrad as scale_by_madgrad
    from gradxform.optimizers._mars import ScaleByMarsState as ScaleByMarsState
    from gradxform.optimizers._mars import mars as mars
    from gradxform.optimizers._mars import scale_by_mars as scale_by_mars
    from gradxform.optimizers._matrices import MatrixLabels as MatrixLabels
    from gradxform.optimizers._matrices import scale_by_shape as scale_by_shape
    from gradxform.optimizers._minimize import Minimum as Minimum
    from gradxform.optimizers._minimize import minimize as minimize
    from gradxform.optimizers._momo import MomoAdamState as MomoAdamState
    from gradxform.optimizers._momo import MomoState as MomoState
    from gradxform.optimizers._momo import momo as momo
    from gradxform.optimizers._momo import momo_adam as momo_adam
    from gradxform.optimizers._muon import MuonDimensionNumbers as MuonDimensionNumbers
    from gradxform.optimizers._muon import MuonState as MuonState
    from gradxform.optimizers._muon import muon as muon
    from gradxform.optimizers._muon import orthogonalize_via_newton_schulz as orthogonalize_via_newton_schulz
    from gradxform.optimizers._muon import scale_by_muon as scale_by_muon
    from gradxform.optimizers._noisy_sgd import noisy_sgd as noisy_sgd
    from gradxform.optimizers._normuon import NorMuonState as NorMuonState
    from gradxform.optimizers._normuon import normuon as normuon
    from gradxform.optimizers._normuon import scale_by_normuon as scale_by_normuon
    from gradxform.optimizers._novograd import ScaleByNovogradState as ScaleByNovogradState
    from gradxform.optimizers._novograd import novograd as novograd
    from gradxform.optimizers._novograd import scale_by_novograd as scale_by_novograd
    from gradxform.optimizers._optimistic import ScaleByOptimisticGradientState as ScaleByOptimisticGradientState
    from gradxform.optimizers._optimistic import optimistic_adam as optimistic_adam
    from gradxform.optimizers._optimistic import optimistic_adam_v2 as optimistic_adam_v2
    from gradxform.optimizers._optimistic import optimistic_gradient_descent as optimistic_gradient_descent
    from gradxform.optimizers._optimistic import scale_by_optimistic_gradient as scale_by_optimistic_gradient
    from gradxform.optimizers._polyak import polyak_sgd as polyak_sgd
    from gradxform.optimizers._polyak import scale_by_polyak as scale_by_polyak
    from gradxform.optimizers._psgd_kron import PsgdKronState as PsgdKronState
    from gradxform.optimizers._psgd_kron import psgd_kron as psgd_kron
    from gradxform.optimizers._psgd_kron import scale_by_psgd_kron as scale_by_psgd_kron
    from gradxform.optimizers._qhadam import qhadam as qhadam
    from gradxform.optimizers._qhadam import scale_by_qhadam as scale_by_qhadam
    from gradxform.optimizers._qhm import ScaleByQhmState as ScaleByQhmState
    from gradxform.optimizers._qhm import qhm as qhm
    from gradxform.optimizers._qhm import scale_by_qhm as scale_by_qhm
    from gradxform.optimizers._quasi_newton import ScaleBySSQuasiNewtonState as ScaleBySSQuasiNewtonState
    from gradxform.optimizers._quasi_newton import scale_by_ss_quasi_newton as scale_by_ss_quasi_newton
    from gradxform.optimizers._quasi_newton import ssbfgs as ssbfgs
    from gradxform.optimizers._quasi_newton import ssbroyden as ssbroyden
    from gradxform.optimizers._radam import radam as radam
    from gradxform.optimizers._radam import scale_by_radam as scale_by_radam
    from gradxform.optimizers._rmsprop import rmsprop as rmsprop
    from gradxform.optimizers._rprop import ScaleByRpropState as ScaleByRpropState
    from gradxform.optimizers._rprop import rprop as rprop
    from gradxform.optimizers._rprop import scale_by_rprop as scale_by_rprop
    from gradxform.optimizers._scion import ScionState as ScionState
    from gradxform.optimizers._scion import scale_by_lmo as scale_by_lmo
    from gradxform.optimizers._scion import scion as scion
    from gradxform.optimizers._sgd import sgd as sgd
    from gradxform.optimizers._sgld import SgldState as SgldState
    from gradxform.optimizers._sgld import sgld as sgld
    from gradxform.optimizers._shampoo import ShampooState as ShampooState
    from gradxform.optimizers._shampoo import scale_by_shampoo as scale_by_shampoo
    from gradxform.optimizers._shampoo import shampoo as shampoo
    from gradxform.optimizers._sign import sign_sgd as sign_sgd
    from gradxform.optimizers._sign import signum as signum
    from gradxform.optimizers._sm3 import ScaleBySM3State as ScaleBySM3State
    from gradxform.optimizers._sm3 import scale_by_sm3 as scale_by_sm3
    from gradxform.optimizers._sm3 import sm3 as sm3
    from gradxform.optimizers._soap import SoapState as SoapState
    from gradxform.optimizers._soap import scale_by_soap as scale_by_soap
    from gradxform.optimizers._soap import soap as soap
    from gradxform.optimizers._sophia import SophiaState as SophiaState
    from gradxform.optimizers._sophia import scale_by_sophia as scale_by_sophia
    from gradxform.optimizers._sophia import sophia as sophia
    from gradxform.optimizers._splus import SPlusState as SPlusState
    from gradxform.optimizers._splus import scale_by_splus as scale_by_splus
    from gradxform.optimizers._splus import splus as splus
    from gradxform.optimizers._stable_adamw import scale_by_stable_adam as scale_by_stable_adam
    from gradxform.optimizers._stable_adamw import stable_adamw as stable_adamw
    from gradxform.optimizers._yogi import scale_by_yogi as scale_by_yogi
    from gradxform.optimizers._yogi import yogi as yogi
    from gradxform.transforms import HutchinsonState as HutchinsonState
    from gradxform.transforms import hutchinson_estimator_diag_hessian as hutchinson_estimator_diag_hessian
else:
    TABLE = {
        "._acprop": "acprop scale_by_acprop",
        "._adabelief": "ScaleByBeliefState adabelief scale_by_belief",
        "._adadelta": "ScaleByAdaDeltaState adadelta scale_by_adadelta",
        "._adafactor": "FactoredState adafactor scale_by_factored_rms",
        "._adagrad": "adagrad",
        "._adahessian": "ScaleByAdahessianState adahessian scale_by_adahessian",
        "._adam": "ScaleByAdamState ScaleByNadamState adam adamw nadam nadamw scale_by_adam scale_by_nadam",
        "._adam_mini": "ScaleByAdamMiniState adam_mini scale_by_adam_mini",
        "._adamax": "adamax adamaxw maxaprop nadamax scale_by_adamax scale_by_nadamax",
        "._adamp": "adamp scale_by_adamp",
        "._adamuon": "AdaMuonState adamuon scale_by_adamuon",
        "._adan": "ScaleByAdanState adan scale_by_adan",
        "._ademamix": (
            "ScaleByAdemamixState ScaleBySimplifiedAdEMAMixState ademamix scale_by_ademamix scale_by_simplified_ademamix "
            "simplified_ademamix"
        ),
        "._adopt": "adopt scale_by_adopt",
        "._aggmo": "ScaleByAggMoState aggmo scale_by_aggmo",
        "._amsgrad": "ScaleByAmsgradState amsgrad scale_by_amsgrad",
        "._ano": "ano scale_by_ano",
        "._apollo": "ApolloState apollo apollo_mini scale_by_apollo",
        "._came": "ScaleByCameState came scale_by_came",
        "._asgo": "AsgoState asgo scale_by_asgo",
        "._cocob": "COCOBState cocob scale_by_cocob",
        "._dadaptation": "DAdaptAdamWState ProdigyState dadapt_adamw prodigy",
        "._dcasgd": "CompensateDelayState compensate_delay dcasgd",
        "._dion": "DionState dion scale_by_dion",
        "._dion2": "Dion2State dion2 scale_by_dion2",
        "._distance": "ScaleByDistanceOverGradientsState scale_by_distance_over_gradients",
        "._dog": "DoGState DoWGState dog dowg scale_by_dog scale_by_dowg",
        "._dpsgd": "dpsgd",
        "._fromage": "fromage",
        "._ftml": "ftml",
        "._ftrl": "FtrlState ftrl",
        "._galore": "GaLoreDimensionNumbers GaLoreState galore scale_by_galore",
        "._grams": "grams scale_by_grams",
        "._group_adagrad": "ScaleByRowRssState group_adagrad scale_by_row_rss",
        "._kl_shampoo": "KlShampooState kl_shampoo scale_by_kl_shampoo",
        "._kl_soap": "KlSoapState kl_soap scale_by_kl_soap",
        "._lamb": "lamb",
        "._lans": "ScaleByLansState lans scale_by_lans",
        "._laprop": "ScaleByLaPropState laprop scale_by_laprop",
        "._lars": "lars",
        "._lbfgs": "ScaleByLBFGSState lbfgs scale_by_lbfgs",
        "._lion": "ScaleByLionState lion scale_by_lion",
        "._madgrad": "MadgradState madgrad scale_by_madgrad",
        "._mars": "ScaleByMarsState mars scale_by_mars",
        "._matrices": "MatrixLabels scale_by_shape",
        "._minimize": "Minimum minimize",
        "._momo": "MomoAdamState MomoState momo momo_adam",
        "._muon": "MuonDimensionNumbers MuonState muon orthogonalize_via_newton_schulz scale_by_muon",
        "._noisy_sgd": "noisy_sgd",
        "._normuon": "NorMuonState normuon scale_by_normuon",
        "._novograd": "ScaleByNovogradState novograd scale_by_novograd",
        "._optimistic": (
            "ScaleByOptimisticGradientState optimistic_adam optimistic_adam_v2 optimistic_gradient_descent "
            "scale_by_optimistic_gradient"
        ),
        "._polyak": "polyak_sgd scale_by_polyak",
        "._psgd_kron": "PsgdKronState psgd_kron scale_by_psgd_kron",
        "._qhadam": "qhadam scale_by_qhadam",
        "._qhm": "ScaleByQhmState qhm scale_by_qhm",
        "._quasi_newton": "ScaleBySSQuasiNewtonState scale_by_ss_quasi_newton ssbfgs ssbroyden",
        "._radam": "radam scale_by_radam",
        "._rmsprop": "rmsprop",
        "._rprop": "ScaleByRpropState rprop scale_by_rprop",
        "._scion": "ScionState scale_by_lmo scion",
        "._sgd": "sgd",
        "._sgld": "SgldState sgld",
        "._shampoo": "ShampooState scale_by_shampoo shampoo",
        "._sign": "sign_sgd signum",
        "._sm3": "ScaleBySM3State scale_by_sm3 sm3",
        "._soap": "SoapState scale_by_soap soap",
        "._sophia": "SophiaState scale_by_sophia sophia",
        "._stable_adamw": "scale_by_stable_adam stable_adamw",
        "._splus": "SPlusState scale_by_splus splus",
        "._yogi": "scale_by_yogi yogi",
    }
    UNLISTED = ONCE_OPTIMIZERS
    __getattr__, __dir__ = attach(__name__, TABLE, unlisted=UNLISTED)
