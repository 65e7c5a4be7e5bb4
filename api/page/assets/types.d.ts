// What the API answers, as far as this page reads it. Prices and amounts are text: exact decimals.
// `tsc --checkJs` compares the page's code with these types (tests/integration/page/test_types.py).

export interface Candle {
  open_time: string; open: string; high: string; low: string; close: string;
  volume: string; quote_volume: string; vwap: string | null; trades: number; is_closed: boolean;
}
export interface CandleEvent extends Candle { market: string; symbol: string; interval: string }
export interface TradeEvent {
  market: string; symbol: string; price: string; qty: string; side: string; trade_time: string; event_id: string;
}
export interface Alert {
  alert_id: string; rule: string; kind: string; severity: string; market: string | null; symbol: string | null;
  raised_at: string; summary: string;
}
export interface SymbolRow { market: string; symbol: string; last_trade_time: string | null }
export interface Mover {
  market: string; symbol: string; open: string; close: string; change_percent: string; quote_volume: string;
}
export interface Gap {
  market: string; symbol: string; stream: string; first_id: number | string; last_id: number | string;
  detected_at: string; state: string;
}
export interface Freshness { market: string; symbol: string; last_trade_time: string | null; age_s: number | null }
export interface Lag { query: string; records: number | null; age_s: number | null }
export interface Status {
  is_synthetic: boolean; exchange: string; freshness: Freshness[]; lag: Lag[];
  gaps_open: number | null; dead_letters: number | null; unavailable: Record<string, string>;
}
export interface Commit { commit: string; created_at: string; message: string }
export interface Audit { of: string; at: string; ok: boolean; report: string; warnings: string[] }

/** The chosen market, symbol and interval. */
export interface Choice { market: string; symbol: string; interval: Interval }
export type Interval = "1m" | "5m" | "1h" | "1d";

/** One bar of the chart: a candle, with its open time in seconds since 1970. */
export interface Bar extends Candle { time: number }

export type StreamState =
  | { kind: "connecting" }
  | { kind: "live"; since: number }
  | { kind: "reconnecting"; since: number; reason: string };

// What the operations page reads: the panels of Grafana's dashboards, with the values of Prometheus.
export interface OpsBoardName { board: string; title: string; description: string }
export interface OpsSeries { name: string; points: [number, number | null][] }
export interface OpsPanel {
  panel: number; title: string; description: string; kind: string; unit: string; width: number;
  thresholds: { at_least: number | null; color: string }[]; words: Record<string, { text: string; color: string }>;
  series: OpsSeries[]; problem: string | null;
}
export interface OpsBoard extends OpsBoardName { at: number; range_s: number; step_s: number; panels: OpsPanel[] }
export interface OpsAlert {
  alert: string; severity: string; state: string; since: string; summary: string; description: string; runbook: string;
  labels: Record<string, string>;
}
