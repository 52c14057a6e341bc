// The counters of rate-limiter-flexible that a process may use. Loaded only if harvest defence is on.
import cluster, { type Worker } from 'node:cluster'
import {
  type RateLimiterAbstract,
  RateLimiterCluster,
  RateLimiterClusterMaster,
  RateLimiterMemory,
  RateLimiterRedis,
} from 'rate-limiter-flexible'
import type { RedisClient, RedisLink } from '../fleet/redis'
import { guard } from '../guard'
import { counterOptions, redisKey, type SharedCounter } from './counters'

/** Milliseconds for which a worker waits for the master, which has little else to do. */
const MASTER_WITHIN = 500

/** Of this process alone. */
export function ownLimiter(window: number): RateLimiterAbstract {
  return new RateLimiterMemory(counterOptions(window, ''))
}

/** In a worker: the counter of all workers, which the master keeps. */
export function countOfServer(window: number): SharedCounter {
  const options = counterOptions(window, `gal-relay harvest ${window}`)
  const limiter = new RateLimiterCluster({ ...options, timeoutMs: MASTER_WITHIN })
  return {
    isLocal: true,
    run: async (work) => {
      // The library would emit an `error` event on the process, for which there is no listener.
      if (!process.connected) throw new Error('the master process has gone')
      return work(limiter)
    },
  }
}

let serves = false

/** In the master, until it ends: counts for the workers. */
export function countForWorkers(): void {
  if (serves) return
  serves = true
  new RateLimiterClusterMaster()
  // The worker may have ended before the answer is sent.
  const watch = (worker: Worker) => {
    worker.on(
      'error',
      guard('error of a worker', () => {}),
    )
  }
  for (const worker of Object.values(cluster.workers ?? {})) if (worker) watch(worker)
  cluster.on('fork', guard('start of a worker', watch))
}

/** Of all servers that name the same Redis. */
export function countOfFleet(link: RedisLink, window: number): SharedCounter {
  const options = counterOptions(window, redisKey(link.prefix))
  let made: { readonly client: RedisClient; readonly limiter: RateLimiterAbstract } | undefined
  const limiterFor = (client: RedisClient) => {
    if (made?.client !== client) {
      const limiter = new RateLimiterRedis({
        ...options,
        storeClient: client,
        useRedisPackage: true,
      })
      made = { client, limiter }
    }
    return made.limiter
  }
  return { isLocal: false, run: (work) => link.use((client) => work(limiterFor(client))) }
}
