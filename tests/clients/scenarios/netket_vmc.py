"""NetKet's variational Monte Carlo: the ground state of a chain of six spins, whose energy is known by diagonalization."""

import netket
import numpy as np
import optax

ERROR = 1e-4


def energy(optimizer):
    space = netket.hilbert.Spin(0.5, 6)
    hamiltonian = netket.operator.Ising(space, netket.graph.Chain(6), h=1.0)
    machine = netket.models.RBM(alpha=1, param_dtype=float)
    sampler = netket.sampler.MetropolisLocal(space, n_chains=16)
    state = netket.vqs.MCState(sampler, machine, n_samples=256, seed=1, sampler_seed=2)
    netket.VMC(hamiltonian, optimizer, variational_state=state).run(60, show_progress=False, out=None)
    return state.expect(hamiltonian).mean.real


def run():
    return {"theirs": energy(netket.optimizer.Adam(0.02)), "itself": energy(optax.chain(optax.scale_by_adam(), optax.scale(-0.02)))}


def check(results):
    for found in results.values():
        np.testing.assert_allclose(found, -7.7274, atol=0.1)
